use std::sync::atomic::Ordering;

use tidings_domain::{Command, CommandBody, ConversationId, Kind, TempId, Timestamp, Update};
use tidings_wire::{Topic, TraceParent, partition_of};

use super::{Client, START, Scene, parse};
use crate::asked::{about, post};
use crate::plan::{Ask, CLIENTS, Fate, PARTITIONS};
use crate::sockets::{Person, SocketStep};

impl Scene<'_> {
    pub(super) fn socket(&mut self, step: SocketStep) -> Result<(), String> {
        let Some(sockets) = &mut self.sockets else {
            return Ok(());
        };
        let clients = &self.clients;
        let conversation = |person: &Person, number: usize, foreign: bool| {
            let is_other = person.tenant == clients[CLIENTS - 1].tenant;
            let maker = if is_other == foreign { 0 } else { CLIENTS - 1 };
            let made = parse(TempId::parse(&format!("c{number}")));
            let Client { tenant, user, .. } = &clients[maker];
            let id = ConversationId::of_created(tenant, user, &made);
            let members = clients[1..CLIENTS - 1].iter();
            let members = members.filter(|_| !is_other);
            let members = members.map(|client| client.user.clone()).collect();
            let is_maker = !foreign && person.user == *user;
            (id, is_maker.then_some(made), members)
        };
        sockets.step(step, conversation, &mut self.counts)
    }

    pub(super) fn ask(
        &mut self,
        client: usize,
        conversation: usize,
        foreign: bool,
        what: Ask,
        fate: Fate,
    ) -> Result<(), String> {
        // Of each tenant one makes the conversations.
        let maker = |client: usize| if client + 1 == CLIENTS { client } else { 0 };
        let made_by = |maker: usize| {
            let made = parse(TempId::parse(&format!("c{conversation}")));
            let Client { tenant, user, .. } = &self.clients[maker];
            ConversationId::of_created(tenant, user, &made)
        };
        let other = if client + 1 == CLIENTS {
            0
        } else {
            CLIENTS - 1
        };
        let next = vec![self.clients[(client + 1) % (CLIENTS - 1)].user.clone()];
        let (from, id, temp_id, body) = match what {
            Ask::Create => {
                let from = maker(client);
                let all = if from == 0 { 1..CLIENTS - 1 } else { 0..0 };
                let members = all.map(|client| self.clients[client].user.clone());
                let members = members.collect();
                let body = CommandBody::Create {
                    kind: Kind::Group,
                    title: None,
                    members,
                };
                (from, made_by(from), format!("c{conversation}"), body)
            }
            what => {
                let at = maker(if foreign { other } else { client });
                let number = self.clients[client].sent.len();
                let temp_id = format!("m{number}");
                let body = match what {
                    Ask::Create | Ask::Send => post(number),
                    Ask::Edit | Ask::Delete | Ask::Purge | Ask::Hide | Ask::React => {
                        // One that the view has, as an edge would have found it.
                        let mut messages = self.store.messages(made_by(at));
                        messages.sort_unstable_by_key(|message| message.no);
                        match messages.len() {
                            0 => post(number),
                            count => about(&messages[number % count], what, number),
                        }
                    }
                    Ask::Add => CommandBody::Update(Update::AddMembers(next)),
                    Ask::Remove => CommandBody::Update(Update::RemoveMembers(next)),
                    Ask::Close => CommandBody::Update(Update::Close),
                    Ask::Reopen => CommandBody::Update(Update::Reopen),
                    Ask::Read => CommandBody::Read { up_to: 1 },
                };
                (client, made_by(at), temp_id, body)
            }
        };
        let Client { tenant, user, .. } = &self.clients[from];
        let command = Command {
            tenant: tenant.clone(),
            conversation_id: id,
            sender: user.clone(),
            temp_id: parse(TempId::parse(&temp_id)),
            at: Timestamp(START + self.now_ms.load(Ordering::Relaxed) as i64),
            body,
        };
        let sent = &mut self.clients[from].sent;
        sent.push((command, false));
        let which = sent.len() - 1;
        self.send(from, which, fate)
    }

    pub(super) fn send(&mut self, client: usize, which: usize, fate: Fate) -> Result<(), String> {
        let (command, acknowledged) = &mut self.clients[client].sent[which];
        let trace = TraceParent::new(1, 1, false).ok_or("no trace parent")?;
        let record = self.codec.encode_command(command, trace);
        let record = record.map_err(|error| error.to_string())?;
        let topic = Topic::of_command(command);
        let key = command.conversation_id.to_string();
        let partition = partition_of(key.as_bytes(), PARTITIONS);
        let times = match fate {
            Fate::Lost => 0,
            Fate::Acknowledged | Fate::AcknowledgementLost => 1,
            Fate::Repeated => 2,
        };
        for _ in 0..times {
            self.log.append(topic, partition, record.clone());
        }
        match fate {
            Fate::Acknowledged => *acknowledged = true,
            Fate::Lost | Fate::AcknowledgementLost => self.counts.lost += 1,
            Fate::Repeated => {
                *acknowledged = true;
                self.counts.repeated += 1;
            }
        }
        Ok(())
    }
}
