//! The command line.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use batch_operations::{Config, Faults, RoleCredentials};
use clap::Parser;
use tokio::net::TcpListener;

/// S3 Batch Operations on this machine, for any S3-compatible endpoint.
///
/// Prints its URL on standard output when it is ready, and logs to standard error.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// Base URL of the S3-compatible endpoint; STS and Lambda are called there too.
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// Loopback address to serve on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Region to sign for.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Tasks of one job that run at the same time.
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// Share of tasks (0.0 to 1.0) that fail for good.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    fail: f64,
    /// Share of tasks (0.0 to 1.0) that are throttled before they succeed.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    throttle: f64,
    /// Share of each job's tasks (0.0 to 1.0) that are throttled until they fail; in another job the same
    /// object may succeed. Restores are spared.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    exhaust: f64,
    /// Chooses which tasks fail or are throttled.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How long a job stays in each passing state.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 20)]
    state_delay: u64,
    /// Seconds until an unconfirmed job fails; AWS's 30 days unless given.
    #[arg(long, value_name = "SECONDS")]
    confirmation_deadline: Option<u64>,
    /// Use AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the environment for every
    /// job, instead of assuming the job's role through STS.
    #[arg(long)]
    fixed_credentials: bool,
}

impl Arguments {
    pub(crate) fn log(&self) {
        let filter = tracing_subscriber::EnvFilter::try_from_default_env()
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("batch_operations=info"));
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }

    /// Binds the address and prints the URL, which scripts read to learn the port.
    pub(crate) async fn listener(&self) -> anyhow::Result<TcpListener> {
        if !self.listen.ip().is_loopback() {
            bail!("{} is not a loopback address", self.listen);
        }
        let listener = TcpListener::bind(self.listen)
            .await
            .with_context(|| format!("failed to listen on {}", self.listen))?;
        let mut output = std::io::stdout();
        writeln!(output, "http://{}", listener.local_addr()?)?;
        output.flush()?;
        Ok(listener)
    }

    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        let mut config = Config::new(&self.endpoint);
        config.region.clone_from(&self.region);
        config.concurrency = self.concurrency;
        config.state_delay = Duration::from_millis(self.state_delay);
        config.faults =
            Faults { failing: self.fail, throttled: self.throttle, exhausted: self.exhaust, seed: self.seed };
        if let Some(seconds) = self.confirmation_deadline {
            config.confirmation_deadline = Duration::from_secs(seconds);
        }
        if self.fixed_credentials {
            let variable =
                |name| std::env::var(name).with_context(|| format!("--fixed-credentials needs {name}"));
            config.role_credentials = RoleCredentials::Fixed {
                access_key_id: variable("AWS_ACCESS_KEY_ID")?,
                secret_access_key: variable("AWS_SECRET_ACCESS_KEY")?,
                session_token: std::env::var("AWS_SESSION_TOKEN").ok(),
            };
        }
        Ok(config)
    }
}
