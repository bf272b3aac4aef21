//! A program of Node that is asked, a line each, how the gateway's own code reads something.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

struct Pipes {
    _child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

pub struct Oracle(Mutex<Pipes>);

impl Oracle {
    /// `suite` is a folder of tests with a `judge.mjs`, and the make target that sets where Node and the gateway are.
    pub fn start(suite: &str) -> Self {
        let set = |name| std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: run `make {suite}`"));
        let mut child = Command::new(set("SCOPESHIM_NODE"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(suite).join("judge.mjs"))
            .arg(set("SCOPESHIM_DIST"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let questions = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self(Mutex::new(Pipes { _child: child, questions, answers }))
    }

    pub fn ask(&self, question: &str) -> serde_json::Value {
        let mut pipes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(pipes.questions, "{question}").unwrap();
        let mut answer = String::new();
        pipes.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{question}: {e}: {answer:?}"))
    }
}
