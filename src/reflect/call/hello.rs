//! Whether a server speaks TLS: asked with the first message of a handshake, which only a TLS server
//! answers as one. For errors: a plain call to such a server ends in many ways, and in none that says so.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A TLS record with a handshake, and one with an alert.
const HANDSHAKE: u8 = 0x16;
const ALERT: u8 = 0x15;

/// Whether TLS is spoken at `host:port`; `false` as well where no answer comes within the time.
pub async fn speaks_tls(address: &str, within: Duration) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(&client_hello()).await.ok()?;
        let mut head = [0; 2];
        stream.read_exact(&mut head).await.ok()?;
        Some(matches!(head, [HANDSHAKE | ALERT, 0x03]))
    };
    let asked = tokio::time::timeout(within, asked).await;
    asked.ok().flatten().unwrap_or(false)
}

/// The least that is one: TLS 1.2 with two usual suites. Whether the server agrees does not matter, as
/// a refusal is an alert.
fn client_hello() -> Vec<u8> {
    let mut body = vec![0x03, 0x03];
    // "Random": nothing is ever encrypted by it.
    body.extend([0x5a; 32]);
    body.push(0);
    body.extend([0, 4, 0xc0, 0x2b, 0xc0, 0x2f]);
    body.extend([1, 0]);
    let mut message = vec![0x01, 0];
    message.extend((body.len() as u16).to_be_bytes());
    message.extend(body);
    let mut record = vec![HANDSHAKE, 0x03, 0x01];
    record.extend((message.len() as u16).to_be_bytes());
    record.extend(message);
    record
}
