//! From what is known to a frame.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Table};
use tidings_operate::{ConsumerLag, ConsumerState};

use super::state::{Look, Shown};

pub(super) fn draw(frame: &mut Frame<'_>, shown: &Shown) {
    let [head, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let title = match &shown.look {
        Some(look) => format!("tidings  {}", look.lag.at),
        None => "tidings  looking …".to_owned(),
    };
    frame.render_widget(Line::from(title).bold(), head);
    if let Some(look) = &shown.look {
        draw_look(frame, body, look, &shown.rates);
    }
    let line = match &shown.error {
        Some(error) => Line::from(format!("cannot look: {error}")).fg(Color::Red),
        None => Line::from("q, Esc or Ctrl-C: quit").dim(),
    };
    frame.render_widget(line, foot);
}

fn draw_look(frame: &mut Frame<'_>, area: Rect, look: &Look, rates: &[f64]) {
    let rows = |lines: usize| Constraint::Length(u16::try_from(lines + 3).unwrap_or(u16::MAX));
    let paused = look.lag.consumers.iter().filter(|it| it.paused.is_some());
    let [consumers, middle, epochs] = Layout::vertical([
        rows(look.lag.consumers.len() + paused.count()),
        Constraint::Min(4),
        Constraint::Length(4),
    ])
    .areas(area);
    draw_consumers(frame, consumers, &look.lag.consumers);
    let [topics, dead, edges] = Layout::horizontal([
        Constraint::Fill(2),
        Constraint::Fill(1),
        Constraint::Fill(1),
    ])
    .areas(middle);
    draw_topics(frame, topics, look, rates);
    let letters = look.dead.iter().map(|(topic, open)| {
        let row = Row::new([(*topic).to_owned(), open.to_string()]);
        if *open > 0 { row.fg(Color::Red) } else { row }
    });
    draw_pairs(
        frame,
        dead,
        "Dead letters",
        ["topic", "open"],
        letters.collect(),
    );
    let sockets = look.edges.iter().map(|(edge, sockets)| {
        let known = sockets.map_or_else(|| "unknown".to_owned(), |it| it.to_string());
        Row::new([edge.clone(), known])
    });
    let mut sockets: Vec<_> = sockets.collect();
    if sockets.is_empty() {
        sockets.push(Row::new(["unknown: give --metrics", ""]).dim());
    }
    draw_pairs(frame, edges, "Edges", ["edge", "sockets"], sockets);
    draw_epochs(frame, epochs, &look.epochs);
}

fn draw_consumers(frame: &mut Frame<'_>, area: Rect, consumers: &[ConsumerLag]) {
    let mut rows = Vec::new();
    for lag in consumers {
        let row = Row::new([
            lag.consumer.clone(),
            lag.state.text().to_owned(),
            lag.members.to_string(),
            lag.records.to_string(),
            format!("{:.1}", lag.seconds),
        ]);
        rows.push(row.style(match lag.state {
            ConsumerState::Active => Style::new(),
            ConsumerState::NeverRan => Style::new().dim(),
            ConsumerState::Paused | ConsumerState::NoMember => Style::new().fg(Color::Yellow),
        }));
        if let Some(paused) = &lag.paused {
            let by = paused.by.as_deref().unwrap_or("somebody");
            let why = format!("by {by}: {}", paused.reason);
            rows.push(Row::new([String::new(), why]).fg(Color::Yellow));
        }
    }
    let widths = [
        Constraint::Length(16),
        Constraint::Fill(1),
        Constraint::Length(8),
        Constraint::Length(12),
        Constraint::Length(10),
    ];
    let header = Row::new(["consumer", "state", "members", "records", "seconds"]).dim();
    let table = Table::new(rows, widths).header(header);
    frame.render_widget(table.block(Block::bordered().title("Behind the log")), area);
}

fn draw_topics(frame: &mut Frame<'_>, area: Rect, look: &Look, rates: &[f64]) {
    let rows = look
        .topics
        .iter()
        .zip(rates)
        .map(|((topic, records), rate)| {
            let row = Row::new([
                (*topic).to_owned(),
                format!("{rate:.1}"),
                records.to_string(),
            ]);
            if *rate > 0.0 { row } else { row.dim() }
        });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(10),
        Constraint::Length(12),
    ];
    let header = Row::new(["topic", "records/s", "end"]).dim();
    let table = Table::new(rows, widths).header(header);
    frame.render_widget(table.block(Block::bordered().title("Topics")), area);
}

fn draw_pairs(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &'static str,
    header: [&'static str; 2],
    rows: Vec<Row<'_>>,
) {
    let widths = [Constraint::Fill(1), Constraint::Length(8)];
    let table = Table::new(rows, widths).header(Row::new(header).dim());
    frame.render_widget(table.block(Block::bordered().title(title)), area);
}

/// One that nobody ever owned has none.
fn draw_epochs(frame: &mut Frame<'_>, area: Rect, epochs: &[Option<u64>]) {
    let of = |(partition, epoch): (usize, &Option<u64>)| {
        let epoch = epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string());
        format!("{partition}:{epoch}")
    };
    let text: Vec<_> = epochs.iter().enumerate().map(of).collect();
    let block = Block::bordered().title("Sequencer epochs (partition:epoch)");
    let paragraph = Paragraph::new(text.join("  ")).wrap(ratatui::widgets::Wrap { trim: true });
    frame.render_widget(paragraph.block(block), area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::state::tests::look;
    use super::*;

    fn drawn(shown: &Shown) -> String {
        let mut terminal = Terminal::new(TestBackend::new(120, 30)).expect("a terminal");
        terminal.draw(|frame| draw(frame, shown)).expect("draws");
        terminal.backend().to_string()
    }

    #[test]
    fn everything_is_on_the_screen() {
        let mut shown = Shown::default();
        assert!(drawn(&shown).contains("looking"));
        shown.take(Ok(look()));
        let mut later = look();
        later.at += std::time::Duration::from_secs(1);
        later.topics[0].1 += 70;
        shown.take(Ok(later));
        let text = drawn(&shown);
        for wanted in [
            "2026-01-02T03:05:00.000Z",
            "sequencer",
            "PAUSED",
            "by ann: moving the index",
            "345",
            "34.5",
            "message.delivered",
            "dead.search",
            "10.0.0.1:7701",
            "1234",
            "unknown",
            "0:3  1:-",
            "quit",
        ] {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
    }

    #[test]
    fn a_failure_is_told_beside_what_was_known() {
        let mut shown = Shown::default();
        shown.take(Ok(look()));
        shown.take(Err("no broker answers".to_owned()));
        let text = drawn(&shown);
        assert!(text.contains("cannot look: no broker answers"), "{text}");
        assert!(text.contains("message.sent"), "{text}");
    }
}
