//! Who a caller is by the certificate that it has shown over mutual TLS, in words: parsed once for each
//! connection, after the handshake has proved it. Deliberately absent: any trust of its own; what is not
//! vouched for by an authority of [`Tls::clients`](super::Tls::clients) never gets here.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// A caller's own certificate. In the extensions of each request that came over mutual TLS, for handlers of
/// both protocols, and in [`Call::certificate`](super::Call::certificate). Cheap to clone.
///
/// ```
/// use platform::server::PeerCertificate;
///
/// fn may_refund<T>(request: &tonic::Request<T>) -> bool {
///     let shown = request.extensions().get::<PeerCertificate>();
///     shown.is_some_and(|shown| shown.dns_names().any(|name| name == "order"))
/// }
/// # let _ = may_refund::<()>;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate(Arc<Parsed>);

#[derive(Debug, PartialEq, Eq)]
struct Parsed {
    subject: String,
    common_name: Option<String>,
    dns: Vec<String>,
    uris: Vec<String>,
    emails: Vec<String>,
    addresses: Vec<IpAddr>,
    serial: String,
    not_after: SystemTime,
}

impl PeerCertificate {
    /// `None` where it cannot be read.
    pub(crate) fn parse(der: &[u8]) -> Option<PeerCertificate> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut parsed = Parsed {
            subject: certificate.subject().to_string(),
            common_name: certificate
                .subject()
                .iter_common_name()
                .find_map(|name| name.as_str().ok().map(str::to_owned)),
            dns: Vec::new(),
            uris: Vec::new(),
            emails: Vec::new(),
            addresses: Vec::new(),
            serial: certificate.raw_serial_as_string(),
            not_after: unix(certificate.validity().not_after.timestamp()),
        };
        // Twice in one certificate is an error, and then there are none.
        let others = certificate.subject_alternative_name().ok().flatten();
        for name in others.iter().flat_map(|one| &one.value.general_names) {
            match name {
                GeneralName::DNSName(name) => parsed.dns.push((*name).to_owned()),
                GeneralName::URI(uri) => parsed.uris.push((*uri).to_owned()),
                GeneralName::RFC822Name(email) => parsed.emails.push((*email).to_owned()),
                GeneralName::IPAddress(bytes) => parsed.addresses.extend(address(bytes)),
                _ => {}
            }
        }
        Some(PeerCertificate(Arc::new(parsed)))
    }

    /// Its whole name, such as `O=Shop, CN=order`; empty where it has none.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The common name of the subject. What is to be trusted for a name stands in the alternative names.
    pub fn common_name(&self) -> Option<&str> {
        self.0.common_name.as_deref()
    }

    /// Its names, such as `order.shop.example`.
    pub fn dns_names(&self) -> impl Iterator<Item = &str> {
        self.0.dns.iter().map(String::as_str)
    }

    /// Its URIs, such as `spiffe://shop.example/order`.
    pub fn uris(&self) -> impl Iterator<Item = &str> {
        self.0.uris.iter().map(String::as_str)
    }

    /// Its mail addresses.
    pub fn emails(&self) -> impl Iterator<Item = &str> {
        self.0.emails.iter().map(String::as_str)
    }

    /// Its IP addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.0.addresses.iter().copied()
    }

    /// The number its authority gave it: hexadecimal bytes, joined by colons.
    pub fn serial(&self) -> &str {
        &self.0.serial
    }

    /// When it ends.
    pub fn not_after(&self) -> SystemTime {
        self.0.not_after
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes)
            .ok()
            .map(|four| Ipv4Addr::from(four).into()),
        16 => <[u8; 16]>::try_from(bytes)
            .ok()
            .map(|all| Ipv6Addr::from(all).into()),
        _ => None,
    }
}

/// A time before 1970 is long over in any case.
fn unix(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, SerialNumber, date_time_ymd};

    use super::*;

    #[test]
    fn all_that_a_certificate_says_of_its_owner_is_read() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![
            SanType::DnsName("order.shop.example".try_into().unwrap()),
            SanType::DnsName("order".try_into().unwrap()),
            SanType::URI("spiffe://shop.example/order".try_into().unwrap()),
            SanType::Rfc822Name("ops@shop.example".try_into().unwrap()),
            SanType::IpAddress([10, 0, 0, 4].into()),
            SanType::IpAddress(Ipv6Addr::LOCALHOST.into()),
        ];
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Shop");
        params.distinguished_name.push(DnType::CommonName, "order");
        params.serial_number = Some(SerialNumber::from(vec![0x0a, 0xff]));
        params.not_after = date_time_ymd(2030, 1, 2);
        let key = KeyPair::generate().unwrap();
        let signed = params.self_signed(&key).unwrap();
        let read = PeerCertificate::parse(signed.der()).unwrap();
        assert!(read.subject().contains("O=Shop") && read.subject().contains("CN=order"));
        assert_eq!(read.common_name(), Some("order"));
        assert_eq!(
            read.dns_names().collect::<Vec<_>>(),
            ["order.shop.example", "order"]
        );
        assert_eq!(
            read.uris().collect::<Vec<_>>(),
            ["spiffe://shop.example/order"]
        );
        assert_eq!(read.emails().collect::<Vec<_>>(), ["ops@shop.example"]);
        let addresses: Vec<IpAddr> = read.addresses().collect();
        assert_eq!(
            addresses,
            [IpAddr::from([10, 0, 0, 4]), Ipv6Addr::LOCALHOST.into()]
        );
        assert_eq!(read.serial(), "0a:ff");
        let ends = UNIX_EPOCH + Duration::from_secs(1_893_542_400);
        assert_eq!(read.not_after(), ends);
    }

    proptest::proptest! {
        #[test]
        fn what_is_no_certificate_breaks_nothing(bytes: Vec<u8>, at: u16, to: u8) {
            PeerCertificate::parse(&bytes);
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(["a".to_owned()]).unwrap();
            let mut der = params.self_signed(&key).unwrap().der().to_vec();
            let at = usize::from(at) % der.len();
            der[at] = to;
            PeerCertificate::parse(&der);
        }
    }
}
