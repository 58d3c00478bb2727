//! A workflow as the search sees it: stages of interchangeable nodes, and what keeps nodes apart.

use std::collections::{BTreeMap, BTreeSet};

use limitless_faas_core::graph::Isolation;
use limitless_faas_core::plan::Start;

use crate::error::PlanError;
use crate::predict::model::Model;
use crate::workflow::Workflow;

/// Nodes of one stage that nothing tells apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pub handler: usize,
    /// Which wraps can host it, see [`Problem::labels`].
    pub label: usize,
    /// Wants a process of its own.
    pub own_process: bool,
    /// Must run in the wrap of this number, from 0.
    pub wrap: Option<usize>,
    pub count: u16,
}

/// Stages of the same classes are searched once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    /// Longest first, which is also the order in which threads start.
    pub classes: Vec<Class>,
    /// Whether any node is kept apart from another beyond its label.
    pub constrained: bool,
}

/// What a sandbox can host: one runtime, and one node alone where that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Label {
    pub runtime: String,
    pub only: Option<usize>,
}

/// Everything the search needs.
#[derive(Debug)]
pub(crate) struct Problem<'a> {
    pub workflow: &'a Workflow,
    pub model: Model,
    pub kinds: Vec<Kind>,
    /// The kind of each stage.
    pub kind_of: Vec<usize>,
    /// The nodes of each class of each stage.
    pub nodes: Vec<Vec<Vec<usize>>>,
    /// The entry wrap's first.
    pub labels: Vec<Label>,
    /// Pairs of handlers that write one file.
    pub writers: BTreeSet<(usize, usize)>,
    /// Memory of one sandbox, at most.
    pub sandbox_mb: Option<f64>,
    /// How the main process runs threads.
    pub main: Start,
}

impl<'a> Problem<'a> {
    pub(crate) fn new(
        workflow: &'a Workflow,
        sandbox_mb: Option<f64>,
        main: Start,
    ) -> Result<Self, PlanError> {
        let model = Model::new(workflow);
        let labels = labels(workflow, &model)?;
        let writers = writers(workflow);
        let mut problem = Self {
            workflow,
            model,
            kinds: Vec::new(),
            kind_of: Vec::new(),
            nodes: Vec::new(),
            labels,
            writers,
            sandbox_mb,
            main,
        };
        let mut known = BTreeMap::new();
        for stage in &workflow.stages {
            let (kind, nodes) = problem.kind(stage)?;
            let next = problem.kinds.len();
            let at = *known.entry(kind.clone()).or_insert(next);
            if at == next {
                problem.kinds.push(kind);
            }
            problem.kind_of.push(at);
            problem.nodes.push(nodes);
        }
        Ok(problem)
    }

    fn kind(&self, stage: &[usize]) -> Result<(Kind, Vec<Vec<usize>>), PlanError> {
        let mut classes: BTreeMap<Class, Vec<usize>> = BTreeMap::new();
        for &node in stage {
            let label = self.label_of(node);
            let (isolation, wrap) =
                (self.workflow.graph.nodes[node].isolation, self.workflow.graph.nodes[node].wrap);
            if wrap == Some(1) && label != 0 {
                let what =
                    "it is pinned to the entry wrap, which runs another runtime: pin it elsewhere, or none";
                return Err(self.misplaced(node, what));
            }
            let class = Class {
                handler: self.workflow.handler_of[node],
                label,
                own_process: isolation == Isolation::Process,
                wrap: wrap.map(|number| number as usize - 1),
                count: 0,
            };
            classes.entry(class).or_default().push(node);
        }
        let mut classes: Vec<_> = classes.into_iter().collect();
        for (class, nodes) in &mut classes {
            class.count = u16::try_from(nodes.len()).unwrap_or(u16::MAX);
        }
        let latency = |class: &Class| self.model.timeline(class.handler, Start::Main).latency_ms;
        classes.sort_by(|(a, _), (b, _)| latency(b).total_cmp(&latency(a)).then_with(|| a.cmp(b)));
        let (classes, nodes): (Vec<_>, Vec<_>) = classes.into_iter().unzip();
        let constrained = self.sandbox_mb.is_some()
            || classes.iter().any(|class| class.own_process || class.wrap.is_some())
            || classes.iter().any(|a| classes.iter().any(|b| self.writers.contains(&(a.handler, b.handler))));
        Ok((Kind { classes, constrained }, nodes))
    }

    fn label_of(&self, node: usize) -> usize {
        let label = label(self.workflow, node);
        self.labels.iter().position(|other| *other == label).unwrap_or(0)
    }

    fn misplaced(&self, node: usize, what: &str) -> PlanError {
        PlanError::Constraint { node: self.workflow.graph.nodes[node].name.clone(), what: what.to_owned() }
    }

    /// Whether threads of this label's wraps run at the same time.
    pub(crate) fn parallel(&self, label: usize) -> bool {
        let runtime = &self.labels[label].runtime;
        let of = |handler: &usize| self.workflow.profile(*handler).runtime.name == *runtime;
        (0..self.workflow.handlers.len()).find(of).is_some_and(|handler| !self.model.locked(handler))
    }

    /// The most CPUs that can be of any use.
    pub(crate) fn most_cpus(&self) -> u32 {
        let widest = |label: usize| {
            let of = |kind: &Kind| {
                kind.classes
                    .iter()
                    .filter(|class| class.label == label)
                    .map(|class| u32::from(class.count))
                    .sum()
            };
            self.kinds.iter().map(of).max().unwrap_or(0u32)
        };
        (0..self.labels.len()).map(widest).sum()
    }

    /// The fewest wraps: one of each label, and as many as pins name.
    pub(crate) fn fewest_wraps(&self) -> usize {
        let pinned = self.kinds.iter().flat_map(|kind| &kind.classes).filter_map(|class| class.wrap).max();
        self.labels.len().max(pinned.map_or(1, |last| last + 1))
    }
}

impl Kind {
    pub(crate) fn nodes(&self) -> usize {
        self.classes.iter().map(|class| usize::from(class.count)).sum()
    }

    /// How many ways there are to take some of its nodes.
    pub(crate) fn subsets(&self) -> usize {
        self.classes.iter().fold(1, |product, class| product.saturating_mul(usize::from(class.count) + 1))
    }
}

fn label(workflow: &Workflow, node: usize) -> Label {
    let alone = workflow.graph.nodes[node].isolation == Isolation::Wrap;
    let runtime = workflow.profile(workflow.handler_of[node]).runtime.name.clone();
    Label { runtime, only: alone.then_some(node) }
}

/// The entry wrap's label is the one that something is pinned to, or the one with the most work.
fn labels(workflow: &Workflow, model: &Model) -> Result<Vec<Label>, PlanError> {
    let mut work: BTreeMap<Label, f64> = BTreeMap::new();
    let mut entry: Option<Label> = None;
    for (node, details) in workflow.graph.nodes.iter().enumerate() {
        let label = label(workflow, node);
        let refuse =
            |what: &str| Err(PlanError::Constraint { node: details.name.clone(), what: what.to_owned() });
        match details.wrap {
            Some(0) => return refuse("wraps are numbered from 1, the entry wrap: pin it to 1 or more"),
            Some(1) => entry = Some(label.clone()),
            Some(wrap) if wrap as usize > workflow.graph.nodes.len() => {
                return refuse(
                    "it is pinned to a wrap of a higher number than there are nodes: pin it lower",
                );
            }
            _ => {}
        }
        *work.entry(label).or_default() += model.solo_ms(workflow.handler_of[node]);
    }
    let mut labels: Vec<(Label, f64)> = work.into_iter().collect();
    let isolated = |label: &Label| label.only.is_some();
    labels.sort_by(|(a, x), (b, y)| {
        isolated(a).cmp(&isolated(b)).then_with(|| y.total_cmp(x)).then_with(|| a.cmp(b))
    });
    let mut labels: Vec<Label> = labels.into_iter().map(|(label, _)| label).collect();
    if let Some(at) = entry.and_then(|entry| labels.iter().position(|label| *label == entry)) {
        labels[..=at].rotate_right(1);
    }
    Ok(labels)
}

fn writers(workflow: &Workflow) -> BTreeSet<(usize, usize)> {
    let mut by_file: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for handler in 0..workflow.handlers.len() {
        for file in &workflow.profile(handler).writes {
            by_file.entry(file).or_default().insert(handler);
        }
    }
    let pairs = |handlers: &BTreeSet<usize>| {
        let pair = |&a: &usize| handlers.iter().map(move |&b| (a, b)).collect::<Vec<_>>();
        handlers.iter().flat_map(pair).collect::<Vec<_>>()
    };
    by_file.values().flat_map(pairs).collect()
}
