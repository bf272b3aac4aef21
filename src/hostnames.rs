//! The names of this machine: its own, and the one that its tailnet gives it.

use arc_swap::ArcSwap;
use std::sync::Arc;

/// The names under which this machine is known, in lower case.
#[derive(Debug)]
pub struct HostNames {
    machine: Vec<String>,
    tailnet: ArcSwap<Vec<String>>,
}

impl HostNames {
    /// What the operating system says.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        Self::named(&name)
    }

    /// Those of a machine with this host name: itself, its first label, and that label for multicast DNS
    /// (RFC 6762), which is answered on the local link alone.
    fn named(name: &str) -> Self {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let short = name.split('.').next().unwrap_or_default().to_owned();
        let mut machine = Vec::new();
        // A machine that calls itself `localhost.example` is not told apart from others of that name.
        if !short.is_empty() && short != "localhost" {
            machine.push(format!("{short}.local"));
            if short != name {
                machine.push(short);
            }
            machine.push(name);
        }
        Self { machine, tailnet: ArcSwap::default() }
    }

    /// What the tailnet calls this machine: its full name, and the first label of that.
    pub fn set_tailnet(&self, dns_name: &str) {
        let full = dns_name.trim_end_matches('.').to_ascii_lowercase();
        let short = full.split('.').next().unwrap_or_default().to_owned();
        let names: Vec<String> = [full, short].into_iter().filter(|n| !n.is_empty()).collect();
        if **self.tailnet.load() != names {
            self.tailnet.store(Arc::new(names));
        }
    }

    /// Calls `decide` with all of them and those `listed`.
    pub fn with<T>(&self, listed: &[String], decide: impl FnOnce(&mut dyn Iterator<Item = &str>) -> T) -> T {
        let tailnet = self.tailnet.load();
        decide(&mut self.machine.iter().chain(tailnet.iter()).chain(listed).map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::ambient::is_own;
    use crate::host::Host;

    fn own(names: &HostNames, host: &str) -> bool {
        let host = Host::parse(host.as_bytes()).unwrap();
        names.with(&["panel.example.org".to_owned()], |all| is_own(host, all))
    }

    #[test]
    fn a_machine_is_known_by_its_own_names_and_those_listed() {
        let names = HostNames::named("Box.lan");
        for host in ["box", "box.lan:18780", "box.local", "panel.example.org"] {
            assert!(own(&names, host), "{host}");
        }
        assert!(!own(&names, "box.tail1.ts.net"));
        names.set_tailnet("box-2.tail1.ts.net.");
        for host in ["box-2.tail1.ts.net", "box-2:80"] {
            assert!(own(&names, host), "{host}");
        }
        for host in ["other.tail1.ts.net", "tail1.ts.net", "other.local", "lan"] {
            assert!(!own(&names, host), "{host}");
        }
        assert!(!own(&HostNames::named("localhost.localdomain"), "localhost.localdomain"));
    }
}
