//! The graph of a workflow, as far as its source says it.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::TokenStream;
use quote::quote;
use syn::Path;

/// Numbers of nodes.
pub(super) type Nodes = BTreeSet<usize>;

/// The nodes so far, and what runs after what.
#[derive(Default)]
pub(super) struct Graph {
    /// Name, handler, and whether it is called for each of some items.
    nodes: Vec<(String, Path, bool)>,
    called: BTreeMap<String, u32>,
    /// From, to, and whether it is data.
    edges: BTreeMap<(usize, usize), bool>,
}

impl Graph {
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A call of `handler` that uses results of `data` and comes after `before`.
    pub(super) fn add(
        &mut self,
        handler: &Path,
        is_many: bool,
        data: &Nodes,
        before: &Nodes,
    ) -> (usize, String) {
        let last = handler.segments.last().map_or_else(String::new, |last| crate::handler::bare(&last.ident));
        let count = self.called.entry(last.clone()).or_default();
        *count += 1;
        let name = if *count == 1 { last } else { format!("{last}#{count}") };
        let node = self.nodes.len();
        self.nodes.push((name.clone(), handler.clone(), is_many));
        self.edges.extend(data.iter().map(|from| ((*from, node), true)));
        for from in before {
            self.edges.entry((*from, node)).or_insert(false);
        }
        (node, name)
    }

    /// The expression that describes it.
    pub(super) fn definition(&self, slo_ms: Option<u64>) -> TokenStream {
        let none = || quote!(::core::option::Option::None);
        let slo = slo_ms.map_or_else(none, |ms| quote!(::core::option::Option::Some(#ms)));
        let nodes = self.nodes.iter().map(|(name, handler, is_many)| {
            quote!(::limitless_faas::workflow::NodeDef {
                name: #name,
                handler: <#handler as ::limitless_faas::handler::Handler>::definition,
                is_many: #is_many,
            })
        });
        let edges = self.edges.iter().map(|((from, to), is_data)| {
            let (from, to) = (&self.nodes[*from].0, &self.nodes[*to].0);
            quote!(::limitless_faas::workflow::EdgeDef { from: #from, to: #to, is_data: #is_data })
        });
        quote!(::limitless_faas::workflow::WorkflowDef {
            slo_ms: #slo,
            nodes: &[#(#nodes),*],
            edges: &[#(#edges),*],
        })
    }
}
