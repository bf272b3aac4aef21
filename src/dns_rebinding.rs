//! The defence against DNS rebinding: any web page can make a browser call this machine under a host name of
//! its own, so who calls without a credential must call by a name that no third party can point here. The
//! names of this machine are its own, and the one that its tailnet gives it.

use crate::host_header::Host;
use crate::refusal::Refusal;
use arc_swap::ArcSwap;
use http::HeaderMap;
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

    /// Refuses a `Host` that is not an address, `localhost`, a name of this machine, or `listed`.
    ///
    /// # Errors
    /// [`Refusal::HostNotAllowed`].
    pub fn refuse_foreign_host(&self, headers: &HeaderMap, listed: &[String]) -> Result<(), Refusal> {
        let host = Host::of(headers);
        if host.is_some_and(|host| self.is_own(host, listed)) {
            return Ok(());
        }
        Err(Refusal::HostNotAllowed { host: host.map(Host::name).unwrap_or_default().to_owned() })
    }

    fn is_own(&self, host: Host<'_>, listed: &[String]) -> bool {
        let tailnet = self.tailnet.load();
        is_own(host, self.machine.iter().chain(tailnet.iter()).chain(listed).map(String::as_str))
    }
}

/// Whether a host is a name that no third party can point at this machine: an address, `localhost`, or one of `names`,
/// which are in lower case.
#[must_use]
pub fn is_own<'a>(host: Host<'_>, names: impl IntoIterator<Item = &'a str>) -> bool {
    if host.ip().is_some() || host.name().eq_ignore_ascii_case("localhost") {
        return true;
    }
    let name = host.name().strip_suffix('.').unwrap_or(host.name());
    names.into_iter().any(|own| own.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn own(names: &HostNames, host: &str) -> bool {
        let host = Host::parse(host.as_bytes()).unwrap();
        names.is_own(host, &["panel.example.org".to_owned()])
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

    fn own_by(host: &str, names: [&str; 3]) -> bool {
        Host::parse(host.as_bytes()).is_some_and(|host| is_own(host, names))
    }

    #[test]
    fn only_names_that_no_stranger_can_point_here_are_own() {
        let names = ["box", "box.local", "box.tail1.ts.net"];
        for host in [
            "127.0.0.1:18780",
            "127.0.0.1",
            "192.168.1.2:1",
            "[::1]:18780",
            "[fd00::1]",
            "localhost",
            "LOCALHOST:18780",
            "box:18780",
            "Box.Local",
            "box.tail1.ts.net:443",
            "box.tail1.ts.net.",
        ] {
            assert!(own_by(host, names), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:18780",
            "other.local",
            "evil.tail1.ts.net",
            "localhost.evil.example",
            "",
            ":80",
            ".",
            "127.0.0.1.evil.example",
            "[::1",
            "[::1]x.evil",
            "127.1",
            "0x7f000001",
            "boxx",
            "box.evil",
            "x:box",
            "box:x",
            "box:1:2",
        ] {
            assert!(!own_by(host, names), "{host}");
        }
    }

    proptest! {
        #[test]
        fn a_registrable_name_is_never_own(label in "[a-z0-9-]{1,20}", tld in "(com|net|example|local|localhost)", port in proptest::option::of(0u16..)) {
            let host = format!("{label}.{tld}{}", port.map(|p| format!(":{p}")).unwrap_or_default());
            prop_assert!(!own_by(&host, ["box", "box.local", "box.tail1.ts.net"]));
        }
    }
}
