# shellcheck shell=bash
# Processes, ports and readiness, for the scripts beside this folder. Sourced.

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

usage_error() {
    echo "${0##*/}: $*" >&2
    echo "Try '${0##*/} --help'." >&2
    exit 2
}

# alive PID: whether the process runs. A zombie does not: its parent may never
# ask for it, and it would look alive for ever.
alive() {
    local stat
    kill -0 "$1" 2>/dev/null || return 1
    if [[ -r /proc/$1/stat ]]; then
        { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
        stat=${stat##*) }
        [[ ${stat:0:1} != Z ]]
    fi
}

# started_at PID: when it started, in the kernel's ticks; tells a process from
# a later one that got the same pid. Nothing where there is no /proc.
started_at() {
    local stat fields
    [[ -r /proc/$1/stat ]] || return 0
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
    read -r -a fields <<<"${stat##*) }"
    echo "${fields[19]}"
}

# resident_kb PID: its resident memory.
resident_kb() {
    awk '/^VmRSS:/ { print $2 }' "/proc/$1/status" 2>/dev/null || true
}

# await SECONDS PID COMMAND…: runs the command until it succeeds. Fails once the
# process is gone or the time is over. PID 0 stands for no process.
await() {
    local deadline=$((SECONDS + $1)) pid=$2
    shift 2
    until "$@"; do
        ((pid == 0)) || alive "$pid" || return 1
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

gone() {
    ! alive "$1"
}

# end SECONDS PID…: SIGTERM to all, and SIGKILL to those that are still there
# when the time is over.
end() {
    local grace=$1 pid
    shift
    for pid; do kill -TERM "$pid" 2>/dev/null || true; done
    local deadline=$((SECONDS + grace))
    for pid; do
        while alive "$pid" && ((SECONDS < deadline)); do sleep 0.05; done
        kill -KILL "$pid" 2>/dev/null || true
        await 10 0 gone "$pid" || true
    done
}

# free_ports N: N different TCP ports of 127.0.0.1 that the kernel lets us bind.
# They lie below the range that outgoing connections take their ports from:
# while a server is down, a client that dials it again and again could get the
# server's own port there, and the server could not come back. Perl, because
# every distribution has it.
free_ports() {
    perl -MSocket -e '
        my $ceiling = 32768;
        if (open my $range, "<", "/proc/sys/net/ipv4/ip_local_port_range") {
            ($ceiling) = split " ", <$range>;
        }
        my ($floor, $wanted, @held) = (12000, $ARGV[0]);
        for (my $tries = 0; @held < $wanted; $tries++) {
            die "no free port\n" if $tries > 10000;
            my $port = $ceiling - $floor < 1000 ? 0 : $floor + int rand($ceiling - $floor);
            socket my $socket, PF_INET, SOCK_STREAM, 0 or die "socket: $!\n";
            bind $socket, sockaddr_in($port, INADDR_LOOPBACK) or next;
            push @held, $socket;
            print +(sockaddr_in(getsockname $socket))[0], "\n";
        }' "$1"
}

# http_ok PORT PATH: whether 127.0.0.1 answers 200.
http_ok() (
    exec 2>/dev/null
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
    printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$2" "$1" >&3
    read -r -t 2 _ status _ <&3 && [[ $status == 200 ]] || exit 1
    # To the end, or the server sees a broken connection.
    while read -r -t 2 _ <&3; do :; done
)

tcp_open() (
    exec 2>/dev/null
    exec 3<>"/dev/tcp/127.0.0.1/$1"
)

# kafka_ok PORT: whether the broker is one that clients are sent to. It listens
# well before that, so we ask for its metadata (version 4, no topics) and look
# at the number of brokers in the answer.
kafka_ok() (
    exec 2>/dev/null
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
    printf '\0\0\0\x0f\0\x03\0\x04\0\0\0\x01\xff\xff\0\0\0\0\0' >&3
    answer=$(timeout 2 head -c 16 <&3 | od -An -v -tu1)
    read -r -a bytes <<<"${answer//$'\n'/ }"
    ((${#bytes[@]} == 16 && bytes[15] > 0))
)

# redis_ok PORT: whether it answers, and has read its data.
redis_ok() (
    exec 2>/dev/null
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
    printf 'PING\r\n' >&3
    read -r -t 2 answer <&3 && [[ $answer == +PONG* ]]
)

# server_ok KIND PORT: whether one of the servers of scripts/servers answers.
server_ok() {
    case $1 in
        kafka) kafka_ok "$2" ;;
        registry) http_ok "$2" /apis/ccompat/v7/subjects ;;
        mongodb) tcp_open "$2" ;;
        # Every index that it has can be read and written. It answers within
        # the time itself, with an error then.
        opensearch | elasticsearch)
            http_ok "$2" '/_cluster/health?wait_for_status=yellow&timeout=1s'
            ;;
        redis) redis_ok "$2" ;;
    esac
}
