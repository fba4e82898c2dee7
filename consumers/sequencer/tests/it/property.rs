//! Whatever happens: every command has one valid decision, and every reader
//! can fold them.

use std::time::Duration;

use proptest::prelude::*;
use tidings_log::SequencerEvent;
use tidings_wire::Topic;

use crate::scene::{Instance, Scene, group};

#[derive(Clone, Debug)]
enum Step {
    Create {
        conversation: usize,
    },
    Send {
        conversation: usize,
        from: usize,
        temp_id: usize,
    },
    Poison {
        conversation: usize,
    },
    Turn {
        who: usize,
    },
    Flush {
        who: usize,
        count: usize,
    },
    Fail {
        who: usize,
        appended: bool,
    },
    Assign {
        who: usize,
    },
    Revoke {
        who: usize,
    },
    Lose {
        who: usize,
    },
    /// Dies with some of what it had produced still getting through.
    Kill {
        who: usize,
        lands: usize,
    },
    ForeignClaim {
        partition: i32,
        above: u64,
    },
    /// A zombie writes an old snapshot once more.
    StaleSnapshot {
        partition: i32,
        which: prop::sample::Index,
    },
    /// Somebody deletes the snapshots, while no sequencer runs.
    LoseSnapshots {
        partition: i32,
    },
    Pass {
        ms: u64,
    },
}

const PARTITIONS: i32 = 2;
const INSTANCES: usize = 2;

fn step() -> impl Strategy<Value = Step> {
    let who = 0..INSTANCES;
    let partition = 0..PARTITIONS;
    prop_oneof![
        3 => (0..4_usize).prop_map(|conversation| Step::Create { conversation }),
        12 => (0..4_usize, 0..3_usize, 0..40_usize)
            .prop_map(|(conversation, from, temp_id)| Step::Send { conversation, from, temp_id }),
        1 => (0..4_usize).prop_map(|conversation| Step::Poison { conversation }),
        30 => who.clone().prop_map(|who| Step::Turn { who }),
        15 => (who.clone(), 1..12_usize).prop_map(|(who, count)| Step::Flush { who, count }),
        2 => (who.clone(), any::<bool>()).prop_map(|(who, appended)| Step::Fail { who, appended }),
        3 => who.clone().prop_map(|who| Step::Assign { who }),
        1 => who.clone().prop_map(|who| Step::Revoke { who }),
        1 => who.clone().prop_map(|who| Step::Lose { who }),
        1 => (who, 0..6_usize).prop_map(|(who, lands)| Step::Kill { who, lands }),
        1 => (partition.clone(), 0..3_u64)
            .prop_map(|(partition, above)| Step::ForeignClaim { partition, above }),
        1 => (partition.clone(), any::<prop::sample::Index>())
            .prop_map(|(partition, which)| Step::StaleSnapshot { partition, which }),
        1 => partition.prop_map(|partition| Step::LoseSnapshots { partition }),
        // 300 steps of at most 1.5 s are less than the dedupe window.
        6 => (1..1_500_u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

fn play(scene: &Scene, instances: &mut [Instance], step: Step) {
    let all: Vec<i32> = (0..PARTITIONS).collect();
    match step {
        Step::Create { conversation } => {
            scene.create(&format!("c{conversation}"));
        }
        Step::Send {
            conversation,
            from,
            temp_id,
        } => {
            let from = ["alice", "bob", "mallory"][from];
            scene.send(
                group(&format!("c{conversation}")),
                from,
                &format!("m{temp_id}"),
            );
        }
        Step::Poison { conversation } => {
            scene.poison(group(&format!("c{conversation}")));
        }
        Step::Turn { who } => {
            instances[who].turn();
        }
        Step::Flush { who, count } => instances[who].side.flush(count),
        Step::Fail { who, appended } => instances[who].side.fail_next(appended),
        Step::Assign { who } => instances[who].side.tell(SequencerEvent::Assigned(all)),
        Step::Revoke { who } => instances[who].side.tell(SequencerEvent::Revoked(all)),
        Step::Lose { who } => instances[who].side.tell(SequencerEvent::Lost(all)),
        Step::Kill { who, lands } => {
            instances[who].side.flush(lands);
            instances[who] = scene.instance();
        }
        Step::ForeignClaim { partition, above } => {
            scene.foreign_claim(partition, above);
        }
        Step::StaleSnapshot { partition, which } => {
            let saved = scene.world.all(Topic::ConversationState, partition);
            if !saved.is_empty() {
                let stale = saved[which.index(saved.len())].record.clone();
                // Each part of the window has its own key, which nobody else
                // ever writes or brings back.
                if !stale
                    .key
                    .as_deref()
                    .unwrap_or_default()
                    .starts_with(b"window/")
                {
                    scene
                        .world
                        .append(Topic::ConversationState, partition, stale);
                }
            }
        }
        Step::LoseSnapshots { partition } => {
            for instance in instances {
                *instance = scene.instance();
            }
            scene.world.truncate(Topic::ConversationState, partition);
        }
        Step::Pass { ms } => scene.pass(Duration::from_millis(ms)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_command_has_one_valid_decision(
        steps in prop::collection::vec(step(), 20..300),
    ) {
        let mut scene = Scene::new(PARTITIONS);
        // Saved often, so that much happens between pieces and checkpoint.
        scene.options.checkpoint_interval = Duration::from_millis(400);
        scene.options.longest_wait = Duration::from_millis(500);
        scene.options.max_in_flight = 8;
        let mut instances: Vec<_> = (0..INSTANCES).map(|_| scene.instance()).collect();
        instances[0].side.tell(SequencerEvent::Assigned((0..PARTITIONS).collect()));
        for step in steps {
            play(&scene, &mut instances, step);
            // What is valid may never be undone, nor wrong, at any time.
        }
        // The zombies go on writing until the last one is thrown out.
        let mut last = scene.instance();
        last.side.tell(SequencerEvent::Assigned((0..PARTITIONS).collect()));
        for instance in &mut instances {
            instance.turn();
            last.turn();
            instance.side.flush_all();
        }
        drop(instances);
        for _ in 0..40 {
            last.settle();
            if last.ready.is_ready() {
                break;
            }
            scene.pass(Duration::from_millis(500));
        }
        last.settle();
        prop_assert!(last.ready.is_ready());
        scene.check_all();

        // A graceful stop, and one more owner on what it left.
        last.stop.cancel();
        prop_assert!(last.settle());
        let mut next = scene.owner();
        for conversation in 0..4 {
            scene.create(&format!("c{conversation}"));
            scene.send(group(&format!("c{conversation}")), "bob", "after all");
        }
        next.settle();
        scene.check_all();
    }
}
