use std::fmt;
use std::str::FromStr;

/// What a fault befalls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Component {
    Sequencer,
    Edge,
    Api,
    History,
    Search,
    Cache,
    Dev,
    Kafka,
    /// One of three brokers.
    Broker,
    Registry,
    Mongodb,
    Opensearch,
    Redis,
}

/// What befalls it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    Kill,
    Pause,
    Stop,
    Cut,
    Slow,
    Full,
}

/// What goes on meanwhile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Import,
    Idle,
    Rebuild,
    Rebalance,
}

/// One run of the matrix.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cell {
    pub(crate) component: Component,
    pub(crate) fault: Fault,
    pub(crate) phase: Phase,
}

impl Component {
    pub(crate) const ALL: [Self; 13] = [
        Self::Sequencer,
        Self::Edge,
        Self::Api,
        Self::History,
        Self::Search,
        Self::Cache,
        Self::Dev,
        Self::Kafka,
        Self::Broker,
        Self::Registry,
        Self::Mongodb,
        Self::Opensearch,
        Self::Redis,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sequencer => "sequencer",
            Self::Edge => "edge",
            Self::Api => "api",
            Self::History => "history",
            Self::Search => "search",
            Self::Cache => "cache",
            Self::Dev => "dev",
            Self::Kafka => "kafka",
            Self::Broker => "broker",
            Self::Registry => "registry",
            Self::Mongodb => "mongodb",
            Self::Opensearch => "opensearch",
            Self::Redis => "redis",
        }
    }

    /// Which process of the cluster is hit.
    pub(crate) fn process(self) -> &'static str {
        match self {
            Self::Edge => "edge-1",
            Self::Broker => "kafka-2",
            other => other.name(),
        }
    }

    /// Whether it is a server that is not ours.
    pub(crate) fn is_server(self) -> bool {
        use Component::{Broker, Kafka, Mongodb, Opensearch, Redis, Registry};
        matches!(
            self,
            Kafka | Broker | Registry | Mongodb | Opensearch | Redis
        )
    }

    /// How many brokers the cluster has.
    pub(crate) fn brokers(self) -> usize {
        if self == Self::Broker { 3 } else { 1 }
    }

    /// The view that is rebuilt while it is hit.
    pub(crate) fn view(self) -> &'static str {
        match self {
            Self::Search | Self::Opensearch => "search",
            Self::Cache | Self::Redis => "cache",
            _ => "history",
        }
    }

    /// Of which a second one joins or leaves while it is hit.
    pub(crate) fn role(self) -> &'static str {
        match self {
            Self::Kafka | Self::Broker | Self::Registry => "sequencer",
            Self::Mongodb => "history",
            Self::Opensearch => "search",
            Self::Redis => "cache",
            other => other.name(),
        }
    }
}

impl Fault {
    pub(crate) const ALL: [Self; 6] = [
        Self::Kill,
        Self::Pause,
        Self::Stop,
        Self::Cut,
        Self::Slow,
        Self::Full,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Stop => "stop",
            Self::Cut => "cut",
            Self::Slow => "slow",
            Self::Full => "full",
        }
    }
}

impl Phase {
    pub(crate) const ALL: [Self; 4] = [Self::Import, Self::Idle, Self::Rebuild, Self::Rebalance];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Idle => "idle",
            Self::Rebuild => "rebuild",
            Self::Rebalance => "rebalance",
        }
    }
}

impl Cell {
    /// Every cell that makes sense, the most telling first.
    pub(crate) fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        for phase in Phase::ALL {
            for fault in Fault::ALL {
                for component in Component::ALL {
                    let cell = Self {
                        component,
                        fault,
                        phase,
                    };
                    if cell.left_out().is_none() {
                        cells.push(cell);
                    }
                }
            }
        }
        cells
    }

    /// Why there is no such cell.
    pub(crate) fn left_out(self) -> Option<&'static str> {
        use Component::{Api, Cache, Dev, Edge, History, Redis, Registry, Search, Sequencer};
        match (self.component, self.fault, self.phase) {
            (Dev, _, Phase::Rebuild) => Some("a data folder is not rebuilt while `dev` runs"),
            (Dev, _, Phase::Rebalance) => Some("`dev` is one process, alone on its data folder"),
            (Sequencer | History | Search | Cache, Fault::Cut | Fault::Slow, _) => {
                Some("nobody connects to it: it is its servers whose links are cut and slowed")
            }
            (Sequencer | History | Search | Cache | Edge | Api, Fault::Full, _) => {
                Some("it writes to no disk")
            }
            (Redis, Fault::Full, _) => Some("it writes to no disk"),
            (Registry, Fault::Full, _) => Some("it writes only when a schema is registered"),
            _ => None,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            component,
            fault,
            phase,
        } = self;
        write!(f, "{}/{}/{}", component.name(), fault.name(), phase.name())
    }
}

/// Which cells of the matrix: `COMPONENT[/FAULT[/PHASE]]`, where `*` is any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter {
    component: Option<Component>,
    fault: Option<Fault>,
    phase: Option<Phase>,
}

impl Filter {
    pub(crate) fn takes(&self, cell: Cell) -> bool {
        self.component.is_none_or(|wanted| wanted == cell.component)
            && self.fault.is_none_or(|wanted| wanted == cell.fault)
            && self.phase.is_none_or(|wanted| wanted == cell.phase)
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/');
        let filter = Self {
            component: one_of("component", parts.next(), &Component::ALL, Component::name)?,
            fault: one_of("fault", parts.next(), &Fault::ALL, Fault::name)?,
            phase: one_of("phase", parts.next(), &Phase::ALL, Phase::name)?,
        };
        match parts.next() {
            None => Ok(filter),
            Some(more) => Err(format!("COMPONENT/FAULT/PHASE, and nothing like {more:?}")),
        }
    }
}

fn one_of<T: Copy>(
    what: &str,
    text: Option<&str>,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<Option<T>, String> {
    let Some(text) = text.filter(|text| *text != "*") else {
        return Ok(None);
    };
    let found = all.iter().find(|one| name(**one) == text).copied();
    found.map(Some).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|one| name(*one)).collect();
        format!("no {what} {text:?}; there are: {}, *", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_what_it_names() {
        let taken = |text: &str| {
            let filter: Filter = text.parse().expect("a filter");
            Cell::all()
                .iter()
                .filter(|cell| filter.takes(**cell))
                .count()
        };
        assert_eq!(taken("sequencer/kill/import"), 1);
        assert_eq!(taken("sequencer/kill"), 4);
        assert_eq!(taken("*/kill/import"), Component::ALL.len());
        assert_eq!(taken("*"), Cell::all().len());
        for wrong in ["", "nobody", "edge/kil", "edge/kill/import/x"] {
            assert!(wrong.parse::<Filter>().is_err(), "{wrong:?}");
        }
    }
}
