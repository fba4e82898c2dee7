//! Edges and their clients.

mod checker;
mod device;
mod heard;
mod line;
mod server;
mod side;
mod step;
mod view;

use tidings_domain::{ConversationId, TempId, Tenant, Timestamp, UserId};
use tidings_service::auth::{Auth, Claims};
use tungstenite::Message;

pub(crate) use self::server::{SECRET, Surroundings};
pub use self::step::{Answering, Append, SocketStep};
pub(crate) use self::step::{DEVICES, EDGES, socket_step};

use self::device::Device;
use self::line::DeviceEnd;
use self::server::Server;
use self::side::Sent;
use crate::checker::Truth;
use crate::counts::Counts;
use crate::plan::Ask;

/// When tokens end: long after every plan.
const EXPIRY: Timestamp = Timestamp(4_102_444_800_000);
/// More frames than are ever on their way.
const ALL: usize = 1_000;

/// A user of whom there is a device.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) tenant: Tenant,
    pub(crate) user: UserId,
    /// Whom they bring in and put out.
    pub(crate) next: UserId,
}

/// Edges, and the devices that are connected to them.
pub(crate) struct Sockets {
    around: Surroundings,
    servers: Vec<Server>,
    answering: [Answering; EDGES],
    devices: Vec<(Device, Person)>,
    /// Broken connections of which the edge does not know.
    ghosts: Vec<DeviceEnd>,
    /// What may come into the log yet.
    late: Vec<Sent>,
}

impl Sockets {
    pub(crate) fn new(around: Surroundings, persons: Vec<Person>) -> Result<Self, String> {
        let auth = Auth::hs256(&around.secret);
        let device = |(number, person): (usize, Person)| {
            let claims = Claims {
                user: person.user.clone(),
                tenant: person.tenant.clone(),
                expires_at: EXPIRY,
                rate: None,
            };
            let token = auth.issue(&claims).map_err(|error| error.to_string())?;
            let (tenant, user) = (person.tenant.clone(), person.user.clone());
            Ok((Device::new(number, tenant, user, token), person))
        };
        let devices = persons.into_iter().enumerate().map(device);
        let servers = (0..EDGES).map(|_| Server::new(&around, Answering::Up));
        Ok(Self {
            servers: servers.collect::<Result<_, _>>()?,
            devices: devices.collect::<Result<_, String>>()?,
            around,
            answering: [Answering::Up; EDGES],
            ghosts: Vec::new(),
            late: Vec::new(),
        })
    }

    /// What happened to devices since the last time.
    pub(crate) fn trace(&mut self) -> Vec<String> {
        let devices = self.devices.iter_mut();
        devices.flat_map(|(device, _)| device.trace()).collect()
    }

    /// The view is about to go back. What an edge answers reflects what it has
    /// read, and no more than that: so it is to have read what clients know.
    pub(crate) fn read_all(&mut self) {
        self.servers.iter_mut().for_each(Server::read_all);
    }

    /// Time passes at the edges.
    pub(crate) fn wait(&self, ms: u64) {
        self.servers.iter().for_each(|server| server.wait(ms));
    }

    /// Something happens. `id` says which conversation a device means, and by
    /// which command its user makes it, if they do.
    pub(crate) fn step(
        &mut self,
        step: SocketStep,
        conversation: impl FnOnce(&Person, usize, bool) -> (ConversationId, Option<TempId>, Vec<UserId>),
        counts: &mut Counts,
    ) -> Result<(), String> {
        match step {
            SocketStep::Dial { device, edge } => self.dial(device, edge, counts),
            SocketStep::Say {
                device,
                conversation: number,
                foreign,
                what,
            } => {
                let (device, person) = &mut self.devices[device];
                let (id, make, members) = conversation(person, number, foreign);
                match (what, make) {
                    (Ask::Create, Some(temp_id)) => device.create(id, temp_id.as_str(), &members),
                    _ => device.say(id, what, &person.next),
                }
            }
            SocketStep::SayAgain {
                device,
                which,
                retry,
            } => {
                let device = &mut self.devices[device].0;
                if !device.said.is_empty() {
                    counts.resends += 1;
                    device.send(which % device.said.len(), retry);
                }
            }
            SocketStep::Carry { device, up, down } => self.carry(device, up, down, counts)?,
            SocketStep::Cut { device, noticed } => self.cut(device, noticed, counts),
            SocketStep::Notice => self.notice(),
            SocketStep::Read { edge, times } => {
                for _ in 0..times {
                    self.servers[edge].read();
                }
            }
            SocketStep::Append { edge, most } => {
                let mut left = most;
                while left > 0 && self.servers[edge].append_one() {
                    left -= 1;
                }
            }
            SocketStep::FailAppend { edge, how } => {
                let (failed, later) = self.servers[edge].fail_append(how);
                counts.failed_appends += usize::from(failed);
                self.late.extend(later);
            }
            SocketStep::LandAppends => self.land(),
            SocketStep::Kill { edge, land } => self.kill(edge, land, counts)?,
            SocketStep::View { edge, answering } => {
                self.answering[edge] = answering;
                self.servers[edge].answer(answering);
            }
            SocketStep::Flow { edge, rounds } => {
                for _ in 0..rounds {
                    self.flow(edge, counts)?;
                }
            }
        }
        Ok(())
    }

    fn dial(&mut self, device: usize, edge: usize, counts: &mut Counts) {
        let device = &mut self.devices[device].0;
        if let Some(link) = device.disconnect() {
            link.end.cut(true);
            self.servers[link.edge].settle();
        }
        counts.connects += 1;
        let (ours, theirs) = line::connection(&self.around.log);
        device.connect(edge, ours);
        self.servers[edge].take(theirs);
    }

    fn carry(
        &mut self,
        number: usize,
        up: usize,
        down: usize,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let device = &mut self.devices[number].0;
        let Some(link) = &device.link else {
            return Ok(());
        };
        let (edge, end) = (link.edge, link.end.clone());
        for _ in 0..up {
            if !end.arrive() {
                break;
            }
            self.servers[edge].settle();
        }
        for _ in 0..down {
            match end.take() {
                Some((moment, Message::Text(text))) => {
                    counts.frames += 1;
                    device.hear(moment, &text)?;
                    self.servers[edge].settle();
                }
                Some((_, Message::Close(_))) => {
                    counts.closed += 1;
                    end.cut(true);
                    self.servers[edge].settle();
                }
                Some(_) => {}
                None => break,
            }
        }
        device.work(self.around.log.moment(), true);
        if end.is_over() {
            device.disconnect();
        }
        Ok(())
    }

    fn cut(&mut self, device: usize, noticed: bool, counts: &mut Counts) {
        let Some(link) = self.devices[device].0.disconnect() else {
            return;
        };
        counts.cuts += 1;
        link.end.cut(noticed);
        self.servers[link.edge].settle();
        if !noticed {
            self.ghosts.push(link.end);
        }
    }

    fn notice(&mut self) {
        for ghost in self.ghosts.drain(..) {
            ghost.cut(true);
        }
        self.servers.iter().for_each(Server::settle);
    }

    fn land(&mut self) {
        for sent in self.late.drain(..) {
            sent.land(&self.around.log);
        }
    }

    fn kill(&mut self, edge: usize, land: usize, counts: &mut Counts) -> Result<(), String> {
        counts.kills += 1;
        let fresh = Server::new(&self.around, self.answering[edge])?;
        let dead = std::mem::replace(&mut self.servers[edge], fresh);
        let mut orphans = dead.kill().into_iter();
        for sent in orphans.by_ref().take(land) {
            sent.land(&self.around.log);
        }
        self.late.extend(orphans);
        Ok(())
    }

    /// An edge does all it can, and its connections do; how much that was.
    fn flow(&mut self, edge: usize, counts: &mut Counts) -> Result<usize, String> {
        let mut done = 0;
        self.carry_all(edge, counts)?;
        while self.servers[edge].append_one() {
            done += 1;
        }
        loop {
            let read = self.servers[edge].read().unwrap_or_default();
            done += read;
            if read == 0 {
                break;
            }
            // Readers that are fast enough are not closed.
            self.carry_all(edge, counts)?;
        }
        self.carry_all(edge, counts)?;
        Ok(done)
    }

    fn carry_all(&mut self, edge: usize, counts: &mut Counts) -> Result<(), String> {
        for device in 0..DEVICES {
            let link = self.devices[device].0.link.as_ref();
            if link.is_some_and(|link| link.edge == edge) {
                self.carry(device, ALL, ALL, counts)?;
            }
        }
        Ok(())
    }

    /// All faults end.
    pub(crate) fn end_faults(&mut self) {
        self.land();
        self.notice();
        self.answering = [Answering::Up; EDGES];
        for server in &self.servers {
            server.answer(Answering::Up);
        }
    }

    /// Whoever is not connected connects, and everything flows. Whether all
    /// have what they want, and nothing has happened.
    pub(crate) fn round(&mut self, counts: &mut Counts) -> Result<bool, String> {
        for device in 0..DEVICES {
            if self.devices[device].0.link.is_none() {
                self.dial(device, device % EDGES, counts);
            }
        }
        let mut done = 0;
        for edge in 0..EDGES {
            done += self.flow(edge, counts)?;
        }
        let is_content = self.devices.iter().all(|(device, _)| device.is_content());
        Ok(is_content && done == 0 && self.servers.iter().all(Server::is_idle))
    }

    /// Compares all that devices were told with what the log says.
    pub(crate) fn check(&self, truth: &Truth) -> Result<(), String> {
        for (device, _) in &self.devices {
            checker::Checker::new(truth, device).check()?;
        }
        Ok(())
    }
}
