//! The clients that have a page in docs/clients, and what stands there to paste.

/// What the pages write for this proxy's address, as a client on its machine reaches it.
pub(super) const ADDRESS: &str = "127.0.0.1:18780";
/// The same from a container, in pages of clients that mostly run in one.
pub(super) const CONTAINER: &str = "host.docker.internal:18780";
/// What they write for the token.
pub(super) const TOKEN: &str = "YOUR-TOKEN";

const READ: &str = "operator.read";
const WRITE: &str = "operator.write";

/// A client with a page, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Client {
    AiSdk,
    Browser,
    Curl,
    HomeAssistant,
    Langchain,
    Llm,
    N8n,
    OpenWebui,
    Openai,
    OpenaiAgents,
    OpenclawCli,
    Phone,
    PydanticAi,
}

/// Where a client's lines are.
struct Entry {
    name: &'static str,
    page: &'static str,
    text: &'static str,
    /// The heading of its part, where a page is about more clients than one.
    section: Option<&'static str>,
    scopes: &'static [&'static str],
}

macro_rules! page {
    ($name:literal, $page:literal, $section:expr, $scopes:expr) => {
        Entry {
            name: $name,
            page: concat!("docs/clients/", $page),
            text: include_str!(concat!("../../../docs/clients/", $page)),
            section: $section,
            scopes: $scopes,
        }
    };
}

impl Client {
    fn entry(self) -> Entry {
        match self {
            Self::AiSdk => page!("ai-sdk", "ai-sdk.md", None, &[WRITE]),
            Self::Browser => page!("browser", "browser.md", None, &[READ, WRITE]),
            Self::Curl => page!("curl", "curl.md", None, &[READ, WRITE]),
            Self::HomeAssistant => page!("home-assistant", "others.md", Some("Home Assistant"), &[WRITE]),
            Self::Langchain => page!("langchain", "langchain.md", None, &[WRITE]),
            Self::Llm => page!("llm", "llm.md", None, &[WRITE]),
            Self::N8n => page!("n8n", "others.md", Some("n8n"), &[READ, WRITE]),
            Self::OpenWebui => page!("open-webui", "open-webui.md", None, &[READ, WRITE]),
            Self::Openai => page!("openai", "openai.md", None, &[READ, WRITE]),
            Self::OpenaiAgents => page!("openai-agents", "openai-agents.md", None, &[WRITE]),
            Self::OpenclawCli => page!("openclaw-cli", "openclaw-cli.md", None, &[READ, WRITE]),
            Self::Phone => page!("phone", "others.md", Some("A phone"), &[READ, WRITE]),
            Self::PydanticAi => page!("pydantic-ai", "pydantic-ai.md", None, &[WRITE]),
        }
    }

    pub(super) fn name(self) -> &'static str {
        self.entry().name
    }

    /// The page, as it is found from the repository's root.
    pub(super) fn page(self) -> &'static str {
        self.entry().page
    }

    /// The least scopes that it needs.
    pub(super) fn scopes(self) -> &'static [&'static str] {
        self.entry().scopes
    }

    /// Whether its page takes it to run in a container.
    pub(super) fn is_contained(self) -> bool {
        self.lines().iter().any(|block| block.contains(CONTAINER))
    }

    /// The blocks to paste, as they stand on its page: not what a refusal looks like.
    pub(super) fn lines(self) -> Vec<String> {
        let Entry { text, section, .. } = self.entry();
        let mut blocks = Vec::new();
        let mut heading = "";
        let mut block: Option<Vec<&str>> = None;
        for line in text.lines() {
            match (&mut block, line.starts_with("```")) {
                (None, true) => block = Some(Vec::new()),
                (Some(_), true) => {
                    let whole = block.take().unwrap_or_default().join("\n");
                    if heading != "A refusal" && section.is_none_or(|s| s == heading) {
                        blocks.push(whole);
                    }
                }
                (Some(lines), false) => lines.push(line),
                (None, false) => heading = line.strip_prefix("## ").unwrap_or(heading),
            }
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;
    use std::collections::BTreeSet;

    #[test]
    fn every_page_has_its_client() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/clients");
        let pages: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "README.md")
            .map(|name| format!("docs/clients/{name}"))
            .collect();
        let ours: BTreeSet<String> = Client::value_variants().iter().map(|c| c.page().to_owned()).collect();
        assert_eq!(pages, ours);
    }

    #[test]
    fn every_client_has_lines_with_an_address_and_its_name_is_what_is_typed() {
        for client in Client::value_variants() {
            assert_eq!(client.to_possible_value().unwrap().get_name(), client.name());
            let lines = client.lines().concat();
            assert!(lines.contains(TOKEN), "{}: {lines}", client.name());
            assert!(lines.contains(ADDRESS) || lines.contains(CONTAINER), "{}: {lines}", client.name());
        }
    }

    #[test]
    fn the_scopes_are_those_of_the_page() {
        for client in Client::value_variants() {
            let Entry { text, section, .. } = client.entry();
            let part = section.map_or(text, |s| text.split_once(&format!("\n## {s}\n")).unwrap().1);
            let said = part[part.find("copes: ").unwrap()..].split(".\n").next().unwrap();
            let said = said.split("\n\n").next().unwrap();
            let named: Vec<&str> = said.split('`').filter(|word| word.starts_with("operator.")).take(2).collect();
            assert_eq!(named, client.scopes(), "{}: {said}", client.name());
        }
    }
}
