//! A subscriber of the topic: what people are told, as they get it.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;

use super::accounts::Account;

/// What SNS delivers to an HTTP subscriber.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "Type", rename_all_fields = "PascalCase")]
enum Delivery {
    SubscriptionConfirmation {
        token: String,
    },
    Notification {
        #[serde(default)]
        subject: String,
        message: String,
    },
    UnsubscribeConfirmation,
}

/// A message to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) subject: String,
    pub(super) message: String,
}

/// A mailbox on a loopback port; it closes when dropped.
#[derive(Debug)]
pub(super) struct Mailbox {
    deliveries: UnboundedReceiver<Delivery>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Mailbox {
    /// Opens a mailbox and subscribes it to the topic.
    pub(super) async fn subscribe(account: &Account, topic: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("failed to open a loopback port")?;
        let endpoint = format!("http://{}/", listener.local_addr()?);
        let (sender, deliveries) = mpsc::unbounded_channel();
        let router = Router::new().route("/", post(receive)).with_state(Arc::new(sender));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let mut mailbox = Self { deliveries, server };
        let sns = aws_sdk_sns::Client::new(&account.config);
        sns.subscribe()
            .topic_arn(topic)
            .protocol("http")
            .endpoint(endpoint)
            .send()
            .await
            .context("failed to subscribe to the topic")?;
        let Some(Delivery::SubscriptionConfirmation { token }) = mailbox.deliveries.recv().await else {
            bail!("the topic sent something else than the subscription's confirmation");
        };
        sns.confirm_subscription()
            .topic_arn(topic)
            .token(token)
            .send()
            .await
            .context("failed to confirm the subscription")?;
        Ok(mailbox)
    }

    /// The next letter, whenever it comes.
    pub(super) async fn next(&mut self) -> Result<Letter> {
        loop {
            match self.deliveries.recv().await.context("the mailbox is closed")? {
                Delivery::Notification { subject, message } => return Ok(Letter { subject, message }),
                Delivery::SubscriptionConfirmation { .. } | Delivery::UnsubscribeConfirmation => {}
            }
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(State(sender): State<Arc<UnboundedSender<Delivery>>>, body: String) {
    if let Ok(delivery) = serde_json::from_str(&body) {
        // Nobody reads any more when the rehearsal is over.
        let _ = sender.send(delivery);
    }
}
