//! `[cors]`.

use super::websocket::origin;
use crate::config::diagnostic::Problems;
use crate::config::file::Cors;
use crate::cors::Origins;

pub(super) fn origins(table: &Cors, problems: &mut Problems) -> Origins {
    let listed = table.origins.as_deref().unwrap_or_default();
    match listed.iter().find(|o| o.get() == "*") {
        None if listed.is_empty() => Origins::None,
        None => Origins::Listed(listed.iter().filter_map(|o| origin(o, problems)).collect()),
        Some(_) if listed.len() == 1 => Origins::Any,
        Some(any) => {
            problems.error(
                "cors-origins",
                any.span(),
                "`*` stands for every origin, and others are listed beside it",
                "list the origins without `*`, or write `origins = [\"*\"]`",
            );
            Origins::Any
        }
    }
}
