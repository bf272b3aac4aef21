//! Grants to the tailnet's users, tags and capabilities.

use crate::config::TailnetSubject;
use crate::glob::Glob;
use crate::tailscale_whois_answer::WhoisNode;
use std::collections::HashMap;

impl TailnetSubject {
    /// The first thing about a peer that does not fit, in words; `None` when all does.
    #[must_use]
    pub fn failing(&self, peer: &WhoisNode) -> Option<String> {
        let any = |globs: &[Glob], text: &str| globs.iter().any(|g| g.matches(text));
        if !self.users.is_empty() {
            match &peer.login {
                None => return Some("it is to users, and a tagged node is none".to_owned()),
                Some(login) if !any(&self.users, login) => return Some("it is to other users".to_owned()),
                Some(_) => {}
            }
        }
        if !self.tags.is_empty() && !peer.tags.iter().any(|tag| any(&self.tags, tag)) {
            return Some("it is to nodes with other tags".to_owned());
        }
        if !self.capabilities.is_empty() && !peer.capabilities.keys().any(|c| any(&self.capabilities, c)) {
            return Some("it is to nodes with other capabilities".to_owned());
        }
        None
    }
}

/// The places of grants, by the first exact text that a peer must have to get them.
#[derive(Debug, Default)]
pub(super) struct TailnetIndex {
    users: HashMap<Box<str>, Vec<usize>>,
    tags: HashMap<Box<str>, Vec<usize>>,
    capabilities: HashMap<Box<str>, Vec<usize>>,
    /// Grants with nothing exact to look up.
    rest: Vec<usize>,
}

impl TailnetIndex {
    pub(super) fn add(&mut self, place: usize, to: &TailnetSubject) {
        let exact = |globs: &[Glob]| {
            let all: Option<Vec<Box<str>>> = globs.iter().map(|g| g.exact().map(Box::from)).collect();
            all.filter(|all| !all.is_empty())
        };
        let (of, texts) = if let Some(users) = exact(&to.users) {
            (&mut self.users, users)
        } else if let Some(tags) = exact(&to.tags) {
            (&mut self.tags, tags)
        } else if let Some(capabilities) = exact(&to.capabilities) {
            (&mut self.capabilities, capabilities)
        } else {
            self.rest.push(place);
            return;
        };
        for text in texts {
            of.entry(text).or_default().push(place);
        }
    }

    pub(super) fn candidates(&self, peer: &WhoisNode) -> Vec<usize> {
        let mut places = self.rest.clone();
        places.extend(peer.login.iter().filter_map(|login| self.users.get(login)).flatten());
        places.extend(peer.tags.iter().filter_map(|tag| self.tags.get(tag)).flatten());
        let held = peer.capabilities.keys().filter_map(|c| self.capabilities.get(c.as_str()));
        places.extend(held.flatten());
        places
    }
}
