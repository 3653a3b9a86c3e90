//! Telling people, over SNS.

use aws_sdk_sns::Client;
use brigade::ports::{AwsResult, Notices};

use super::errors::kind;

/// Bytes that SNS takes: 256 KiB, a little kept in hand
/// (<https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>).
const MOST_BYTES: usize = 250_000;

/// One topic.
#[derive(Clone, Debug)]
pub struct Topic {
    client: Client,
    arn: String,
}

impl Topic {
    pub(super) fn new(client: Client, arn: String) -> Self {
        Self { client, arn }
    }
}

impl Notices for Topic {
    async fn publish(&self, subject: &str, message: &str) -> AwsResult<()> {
        let end = message.floor_char_boundary(MOST_BYTES);
        self.client
            .publish()
            .topic_arn(&self.arn)
            .subject(subject_line(subject))
            .message(&message[..end])
            .send()
            .await
            .map(|_| ())
            .map_err(|error| kind("Publish", &error))
    }
}

/// SNS takes up to 100 printable ASCII characters.
fn subject_line(subject: &str) -> String {
    subject.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(99).collect()
}
