use tidings_wire::Topic;

/// The names of topics and groups in the cluster: each has the deployment's
/// prefix before it, so that several can share one cluster.
pub(super) struct Names {
    prefix: String,
    topics: [(Topic, String); Topic::ALL.len()],
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        let topics = Topic::ALL.map(|topic| (topic, format!("{prefix}{topic}")));
        Self {
            prefix: prefix.to_owned(),
            topics,
        }
    }

    pub(super) fn of(&self, topic: Topic) -> &str {
        let found = self.topics.iter().find(|(each, _)| *each == topic);
        found.map_or("", |(_, name)| name)
    }

    pub(super) fn topic(&self, name: &str) -> Option<Topic> {
        name.strip_prefix(&self.prefix).and_then(Topic::parse)
    }

    pub(super) fn group(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::Names;
    use tidings_wire::Topic;

    #[test]
    fn every_topic_is_found_by_its_name() {
        for prefix in ["", "blue."] {
            let names = Names::new(prefix);
            for topic in Topic::ALL {
                assert_eq!(names.topic(names.of(topic)), Some(topic));
            }
            assert_eq!(names.topic("green.message.sent"), None);
        }
    }
}
