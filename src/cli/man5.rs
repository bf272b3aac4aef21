//! The manual page of the configuration file, made from its schema.

use serde_json::{Map, Value};
use std::fmt::Write as _;

/// Renders `scopeshim.toml(5)`.
pub(super) fn page(schema: &Value) -> String {
    let mut out = String::from(
        ".TH scopeshim.toml 5 \"\" scopeshim \"File Formats\"\n.SH NAME\nscopeshim.toml \\- configuration of scopeshim(1)\n\
         .SH DESCRIPTION\nThe file is TOML. Tables marked \\(lqRestart\\(rq need a restart to change; those marked \\(lqLive\\(rq are in \
         force as soon as the file is saved. A file that is wrong changes nothing. \\fBscopeshim check\\fR says everything that is \
         wrong with it.\n",
    );
    let definitions = schema.get("definitions").and_then(Value::as_object).cloned().unwrap_or_default();
    let Some(tables) = schema.get("properties").and_then(Value::as_object) else { return out };
    for (name, table) in tables {
        let list = table.get("type").and_then(Value::as_str) == Some("array");
        let head = if list { format!("[[{name}]]") } else { format!("[{name}]") };
        let _ = writeln!(out, ".SH {}\n{}", escape(&head), escape(&describe(table)));
        let shape = if list { table.get("items").unwrap_or(table) } else { table };
        keys(&mut out, shape, &definitions, 0);
    }
    out.push_str(".SH SEE ALSO\nscopeshim(1), /usr/share/doc/scopeshim/examples/config.example.toml\n");
    out
}

/// Lists the keys of a table, and those of the tables within it.
fn keys(out: &mut String, shape: &Value, definitions: &Map<String, Value>, depth: usize) {
    let shape = resolve(shape, definitions);
    let Some(properties) = shape.get("properties").and_then(Value::as_object) else { return };
    let required: Vec<&str> =
        shape.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, key) in properties {
        let must = if required.contains(&name.as_str()) { " (required)" } else { "" };
        let _ = writeln!(out, ".TP\n\\fB{}\\fR{must}\n{}", escape(name), escape(&describe(key)));
        let inner = resolve(key, definitions);
        if depth < 2 && inner.get("properties").is_some() {
            let _ = writeln!(out, ".RS");
            keys(out, inner, definitions, depth + 1);
            let _ = writeln!(out, ".RE");
        }
    }
}

/// Follows `$ref`, also where it stands alone in `anyOf` or `allOf` beside `null`.
fn resolve<'a>(shape: &'a Value, definitions: &'a Map<String, Value>) -> &'a Value {
    if let Some(name) = shape.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/definitions/")) {
        return definitions.get(name).unwrap_or(shape);
    }
    let alternatives = shape.get("anyOf").or_else(|| shape.get("allOf")).and_then(Value::as_array);
    alternatives.and_then(|all| all.iter().find(|a| a.get("$ref").is_some())).map_or(shape, |a| resolve(a, definitions))
}

fn describe(shape: &Value) -> String {
    shape.get("description").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Escapes for roff: backslashes, hyphens, and what a line may not begin with.
pub(super) fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('`', "\\(aq");
    let guard = |line: &str| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() };
    text.lines().map(guard).collect::<Vec<_>>().join("\n")
}
