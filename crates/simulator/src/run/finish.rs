use tidings_log::SequencerEvent;
use tidings_wire::Topic;

use super::{PATIENCE, Scene};
use crate::plan::{CLIENTS, Fate, PARTITIONS, Told};

impl Scene<'_> {
    fn bring_last_projection(&mut self) -> Result<(), String> {
        self.store.fail(0);
        self.counts.landed += self.store.land();
        let last = self.projection()?;
        last.assign((0..PARTITIONS).collect());
        self.projections.push(last);
        Ok(())
    }

    fn turn_projections(&mut self) -> Result<(), String> {
        let mut living = Vec::new();
        for mut projection in std::mem::take(&mut self.projections) {
            if projection.turn()? {
                living.push(projection);
            }
        }
        self.projections = living;
        Ok(())
    }

    /// Devices get all they want: answers, and the events they missed.
    fn finish_sockets(&mut self) -> Result<(), String> {
        let Some(mut sockets) = self.sockets.take() else {
            return Ok(());
        };
        sockets.end_faults();
        self.bring_last_projection()?;
        let mut quiet = 0;
        for _ in 0..PATIENCE {
            let is_quiet = sockets.round(&mut self.counts)?;
            self.pass(1);
            for sequencer in 0..self.sequencers.len() {
                self.turn(sequencer)?;
                self.sequencers[sequencer].1.flush(usize::MAX);
            }
            self.turn_projections()?;
            let waiting: usize = self.sequencers.iter().map(|(_, side)| side.waiting()).sum();
            quiet = if is_quiet && waiting == 0 {
                quiet + 1
            } else {
                0
            };
            if quiet > 8 {
                break;
            }
        }
        self.sockets = Some(sockets);
        Ok(())
    }

    /// All faults end. One more projection gets everything, and those that
    /// think they have some of it go on; then the view must have all there is.
    pub(super) fn project_all(&mut self) -> Result<(), String> {
        self.bring_last_projection()?;
        for _ in 0..PATIENCE {
            let end = |partition| self.log.end(Topic::MessageDelivered, partition);
            let is_behind = |partition: &i32| self.store.offset(*partition) < end(*partition);
            if !(0..PARTITIONS).any(|partition| is_behind(&partition)) {
                let dead = |partition| self.log.end(Topic::DeadHistory, partition);
                return match (0..PARTITIONS).map(dead).sum() {
                    0 => Ok(()),
                    letters => Err(format!("{letters} good decisions are dead letters")),
                };
            }
            self.turn_projections()?;
        }
        Err("the view does not come to the end of the log".to_owned())
    }

    /// All faults end. Clients send again what they were not told of, zombies
    /// go on until they are thrown out, and one sequencer gets everything.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        self.log.fail_reads(0);
        for client in 0..CLIENTS {
            for which in 0..self.clients[client].sent.len() {
                if !self.clients[client].sent[which].1 {
                    self.counts.resends += 1;
                    self.send(client, which, Fate::Acknowledged)?;
                }
            }
        }
        let last = self.sequencers.len();
        let fresh = self.sequencer();
        self.sequencers.push(fresh);
        for partition in 0..PARTITIONS {
            self.rebalance(partition, last, Told::Nothing);
        }
        let mut quiet = 0;
        for round in 0..PATIENCE {
            self.pass(1);
            for sequencer in 0..self.sequencers.len() {
                self.turn(sequencer)?;
            }
            if round == 8 {
                for orphan in std::mem::take(&mut self.orphans) {
                    orphan.flush(usize::MAX);
                }
            }
            let waiting: usize = self.sequencers.iter().map(|(_, side)| side.waiting()).sum();
            quiet = if waiting == 0 { quiet + 1 } else { 0 };
            // The zombies win what they can win, then the last one is alone.
            if quiet > 12 || (round == PATIENCE / 2 && self.sequencers.len() > 1) {
                if self.sequencers.len() == 1 {
                    break;
                }
                self.sequencers = vec![self.sequencer()];
                self.given = [Some(0); PARTITIONS as usize];
                let all = (0..PARTITIONS).collect();
                self.sequencers[0].1.tell(SequencerEvent::Assigned(all));
                quiet = 0;
            }
            for (_, side) in &self.sequencers {
                side.flush(usize::MAX);
            }
        }
        self.finish_sockets()?;
        for reader in &mut self.readers {
            reader.read(&self.log, usize::MAX)?;
        }
        Ok(())
    }
}
