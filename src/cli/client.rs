//! `client`: what a client needs to be told, filled in: a token with the least scopes, and the lines of its page in
//! docs/clients.

mod pages;

use super::admin_client::RunningProcess;
use super::{Exit, check, complain, say, token};
use crate::config::{BootstrapConfig, ListenAddress};
use clap::ValueEnum as _;
use pages::{ADDRESS, CONTAINER, Client, TOKEN};
use std::net::SocketAddr;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  scopeshim client --list\n  scopeshim client open-webui\n  \
scopeshim client langchain --token-name reports --container")]
pub(super) struct Args {
    /// The client
    #[arg(required_unless_present = "list", value_name = "NAME")]
    client: Option<Client>,
    /// List the clients, and the scopes that each needs
    #[arg(long, conflicts_with = "client")]
    list: bool,
    /// Name of the token; default: the client's name
    #[arg(long, value_name = "NAME")]
    token_name: Option<String>,
    /// Make no token, and leave its place open
    #[arg(long, conflicts_with = "token_name")]
    no_token: bool,
    /// The client runs in a container on this machine
    #[arg(long)]
    container: bool,
    /// The address by which the client reaches this proxy, host:port; default: as configured
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    #[command(flatten)]
    at: RunningProcess,
}

pub(super) fn client(args: &Args) -> Exit {
    let Some(client) = args.client else {
        for client in Client::value_variants() {
            say(format!("{:<16} {:<30} {}", client.name(), client.scopes().join(" "), client.page()));
        }
        return Exit::Ok;
    };
    let loaded = match check::load(args.at.config()) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let Some(fixed) = loaded.config.as_ref().map(|config| &config.fixed) else {
        complain(loaded.render().trim_end());
        return Exit::Config;
    };
    let Some(host) = Reached::of(fixed, args.address.as_deref()) else {
        complain(
            "error: no `[[listen]]` has a host and a port\n  = help: name the address that the client uses with --address",
        );
        return Exit::Usage;
    };
    let secret = if args.no_token {
        None
    } else {
        let name = args.token_name.as_deref().unwrap_or(client.name());
        let scopes: Vec<String> = client.scopes().iter().map(ToString::to_string).collect();
        match token::added_named(&args.at, name, &scopes) {
            Ok(secret) => {
                complain(format!(
                    "A token `{name}` with {}, shown this once, in the lines for {}:\n",
                    scopes.join(" and "),
                    client.name()
                ));
                Some(secret)
            }
            Err(exit) => return exit,
        }
    };
    for block in client.lines() {
        say(format!("{}\n", host.fill(&block, args.container, secret.as_deref().unwrap_or(TOKEN))));
    }
    complain(format!("{} says what works with it and what does not.", client.page()));
    if (args.container || client.is_contained()) && host.is_local_alone {
        complain(
            "\nwarning: scopeshim listens on loopback only, which no container reaches. Add a listener and restart it:\n\n    \
             [[listen]]\n    address = \"172.17.0.1:18780\"   # Docker's bridge: `ip address show docker0`\n",
        );
    }
    if secret.is_some() { token::settled(&args.at) } else { Exit::Ok }
}

/// How this proxy is reached.
struct Reached {
    scheme: Scheme,
    /// From this machine.
    here: String,
    /// From a container on it.
    contained: String,
    /// Whether no listener can be reached from a container.
    is_local_alone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Plain,
    Tls,
}

impl Reached {
    fn of(fixed: &BootstrapConfig, named: Option<&str>) -> Option<Self> {
        let tcp: Vec<(SocketAddr, bool)> = fixed
            .listeners
            .iter()
            .filter_map(|l| match &l.address {
                ListenAddress::Tcp(address) => Some((*address, l.tls)),
                ListenAddress::Unix { .. } => None,
            })
            .collect();
        let scheme = |tls| if tls { Scheme::Tls } else { Scheme::Plain };
        if let Some(named) = named {
            let tls = !tcp.is_empty() && tcp.iter().all(|(_, tls)| *tls);
            let named = named.to_owned();
            return Some(Self { scheme: scheme(tls), here: named.clone(), contained: named, is_local_alone: false });
        }
        let &(here, tls) = tcp.iter().min_by_key(|(at, tls)| (!at.ip().is_loopback(), *tls))?;
        let open = tcp.iter().find(|(at, _)| !at.ip().is_loopback());
        let at = |address: SocketAddr, unspecified: &str| match address.ip() {
            ip if ip.is_unspecified() => format!("{unspecified}:{}", address.port()),
            _ => address.to_string(),
        };
        // The name that container engines give the machine.
        let contained = open.map_or_else(|| SocketAddr::from(([0, 0, 0, 0], here.port())), |(at, _)| *at);
        Some(Self {
            scheme: scheme(tls),
            here: at(here, "127.0.0.1"),
            contained: at(contained, "host.docker.internal"),
            is_local_alone: open.is_none(),
        })
    }

    fn fill(&self, text: &str, container: bool, secret: &str) -> String {
        let here = if container { &self.contained } else { &self.here };
        let text = text.replace(CONTAINER, &self.contained).replace(ADDRESS, here).replace(TOKEN, secret);
        match self.scheme {
            Scheme::Plain => text,
            Scheme::Tls => [here, &self.contained].into_iter().fold(text, |text, at| {
                text.replace(&format!("http://{at}"), &format!("https://{at}"))
                    .replace(&format!("ws://{at}"), &format!("wss://{at}"))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(listeners: &str, named: Option<&str>) -> Option<Reached> {
        let text = format!(
            "{listeners}\n[gateway]\nurl = \"http://127.0.0.1:18789\"\nauth = {{ kind = \"none\" }}\n[anonymous]\nscopes = []\n"
        );
        let source = crate::config::diagnostic::Source::new("config.toml", text);
        let loaded = crate::config::parse(source, &crate::config::environment::System);
        Reached::of(&loaded.config.as_ref().unwrap_or_else(|| panic!("{}", loaded.render())).fixed, named)
    }

    #[test]
    fn the_address_is_one_that_the_client_reaches() {
        let listen = |address: &str| format!("[[listen]]\naddress = \"{address}\"\n");
        let filled = |r: &Reached, container| {
            r.fill("http://127.0.0.1:18780/v1 http://host.docker.internal:18780 YOUR-TOKEN", container, "t")
        };
        let local = reached(&listen("127.0.0.1:19000"), None).unwrap();
        assert!(local.is_local_alone);
        assert_eq!(filled(&local, false), "http://127.0.0.1:19000/v1 http://host.docker.internal:19000 t");
        assert_eq!(filled(&local, true), "http://host.docker.internal:19000/v1 http://host.docker.internal:19000 t");
        let all = reached(&listen("0.0.0.0:19000"), None).unwrap();
        assert_eq!(filled(&all, false), "http://127.0.0.1:19000/v1 http://host.docker.internal:19000 t");
        let both = reached(&(listen("172.17.0.1:19001") + &listen("127.0.0.1:19000")), None).unwrap();
        assert!(!both.is_local_alone);
        assert_eq!(filled(&both, true), "http://172.17.0.1:19001/v1 http://172.17.0.1:19001 t");
        let named = reached(&listen("127.0.0.1:19000"), Some("gateway.lan:80")).unwrap();
        assert_eq!(filled(&named, false), "http://gateway.lan:80/v1 http://gateway.lan:80 t");
        assert!(reached("[[listen]]\naddress = \"unix:/tmp/x\"\n", None).is_none());
    }

    #[test]
    fn tls_changes_the_schemes() {
        let tls = Reached { scheme: Scheme::Tls, here: "a:1".into(), contained: "b:2".into(), is_local_alone: false };
        assert_eq!(tls.fill("http://127.0.0.1:18780/v1 ws://127.0.0.1:18780", false, "t"), "https://a:1/v1 wss://a:1");
    }
}
