//! `demo`: everything on this machine, with a fake gateway.

use super::{Exit, complain, say, token};
use crate::app::App;
use crate::config::diagnostic::Source;
use crate::config::environment::{Environment, SecretFileFault};
use crate::config::{self, Config};
use crate::fake_gateway::FakeGateway;
use jiff::Timestamp;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The pace of the fake gateway's model.
const PAUSE: Duration = Duration::from_millis(300);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The port to listen on, on 127.0.0.1; 0 lets the system choose
    #[arg(long, default_value_t = 18780)]
    port: u16,
    /// Stop when the demonstration has ended
    #[arg(long)]
    once: bool,
}

/// The only secret the demonstration's configuration refers to.
struct Stage {
    secret: String,
}

impl Environment for Stage {
    fn secret_file(&self, _: &Path) -> Result<String, SecretFileFault> {
        Ok(self.secret.clone())
    }
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

pub(super) fn demo(args: &Args) -> Exit {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format!("error: cannot start: {error}"));
            return Exit::System;
        }
    };
    let exit = runtime.block_on(async {
        match show(args).await {
            Ok(()) => Exit::Ok,
            Err(error) => {
                complain(format!("error: {error}"));
                Exit::Failed
            }
        }
    });
    runtime.shutdown_background();
    exit
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn show(args: &Args) -> Result<(), Failure> {
    let secret = token::generate()?;
    let reader = token::generate()?;
    let gateway = FakeGateway::new(&secret, PAUSE).start().await?;
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:{}\"\n\n[gateway]\nurl = \"http://{gateway}\"\nauth = {{ kind = \"token\", file = \"gateway.token\" }}\n\n\
         [gateway_secret]\naccept = true\n\n{}",
        args.port,
        token::table("reader", &reader, &["operator.read".to_owned()], None)
    );
    let app = App::build(staged(&text, &secret)?, None).await?;
    let Some(proxy) = app.listeners().find_map(crate::listener::Listener::tcp_address) else {
        return Err("nothing is listened on".into());
    };
    let (stop, stopped) = mpsc::channel(1);
    let serving = tokio::spawn(app.serve(stopped));

    say(format!(
        "A fake gateway (like OpenClaw 2026.3.28) is on {gateway}, with scopeshim in front of it on {proxy}:\n"
    ));
    text.lines().for_each(|line| say(format!("    {line}")));
    say("");
    let passed = acts(gateway, proxy, &secret, &reader).await?;
    if !passed {
        return Err("the demonstration did not go as expected".into());
    }
    if args.once {
        return Ok(());
    }
    say(curl_lines(proxy, &secret, &reader));
    tokio::signal::ctrl_c().await?;
    stop.send(()).await?;
    serving.await?;
    Ok(())
}

fn staged(text: &str, secret: &str) -> Result<Config, Failure> {
    let source = Source::new("demo.toml".to_owned(), text.to_owned());
    let loaded = config::parse(source, &Stage { secret: secret.to_owned() });
    let problems = loaded.render();
    loaded.config.ok_or_else(|| problems.into())
}

async fn acts(gateway: SocketAddr, proxy: SocketAddr, secret: &str, reader: &str) -> Result<bool, Failure> {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
    let mut passed = true;
    let mut act = |title: &str, expected: u16, got: u16, body: &str| {
        passed &= expected == got;
        say(format!("{title}\n    -> {got}  {}\n", body.chars().take(260).collect::<String>()));
    };
    let models = |base: SocketAddr, token: &str| http.get(format!("http://{base}/v1/models")).bearer_auth(token).send();

    let answer = models(gateway, secret).await?;
    act(
        "1. An old client, straight to the gateway: a valid token, no scopes header.",
        403,
        answer.status().as_u16(),
        &answer.text().await?,
    );

    let answer = models(proxy, secret).await?;
    act("2. The same request through scopeshim.", 200, answer.status().as_u16(), &answer.text().await?);

    let answer = models(proxy, reader).await?;
    act(
        "3. The token `reader`, which only has operator.read, lists the models.",
        200,
        answer.status().as_u16(),
        &answer.text().await?,
    );

    let chat = |token: &str| {
        let body = serde_json::json!({"model": "openclaw", "stream": true, "messages": [{"role": "user", "content": "hello"}]});
        http.post(format!("http://{proxy}/v1/chat/completions"))
            .bearer_auth(token)
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
    };
    let answer = chat(reader).await?;
    act(
        "4. But it cannot chat: least privilege, on a gateway that knows one secret.",
        403,
        answer.status().as_u16(),
        &answer.text().await?,
    );

    say("5. The old client streams a chat through scopeshim; each event arrives as it is made:");
    let begun = Instant::now();
    let mut answer = chat(secret).await?;
    passed &= answer.status() == 200;
    let mut last = String::new();
    while let Some(chunk) = answer.chunk().await? {
        for line in String::from_utf8_lossy(&chunk).lines().filter(|l| !l.is_empty()) {
            say(format!("    +{:4} ms  {}", begun.elapsed().as_millis(), line.chars().take(120).collect::<String>()));
            line.clone_into(&mut last);
        }
    }
    say("");
    Ok(passed && last == "data: [DONE]" && begun.elapsed() >= PAUSE)
}

fn curl_lines(proxy: SocketAddr, secret: &str, reader: &str) -> String {
    format!(
        "It stays up for you to try (Ctrl-C ends it):\n\n\
         curl -H 'Authorization: Bearer {secret}' http://{proxy}/v1/models\n\
         curl -H 'Authorization: Bearer {secret}' -H 'x-openclaw-scopes: operator.read' -d '{{}}' http://{proxy}/v1/chat/completions\n\
         curl -N -H 'Authorization: Bearer {secret}' -d '{{\"model\":\"openclaw\",\"stream\":true,\"messages\":[]}}' http://{proxy}/v1/chat/completions\n\
         curl -H 'Authorization: Bearer {reader}' -d '{{}}' http://{proxy}/v1/chat/completions\n"
    )
}
