//! Certificates as companies have them, about which libraries differ, and the servers that show them.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_RSA_SHA256, SanType, date_time_ymd,
};

use crate::support::tls::{Authority, Pair};

/// What nginx serves: the port, the certificate, and what else its server has.
pub(crate) const NGINX: [(u16, &str, &str); 15] = [
    (6001, "wildcard", ""),
    (6002, "any_purpose", ""),
    (6003, "ca_too", ""),
    (6004, "of_clients", ""),
    (6005, "under_ended", ""),
    (6006, "under_a_server", ""),
    (6007, "under_one_of_clients", ""),
    (6008, "under_one_that_signs_nothing", ""),
    (6009, "old_strings", ""),
    (6010, "p521", "ssl_protocols TLSv1.2;"),
    (6011, "rsa2048", "ssl_certificate good.pem; ssl_certificate_key good.key; ssl_protocols TLSv1.3;"),
    (6012, "rsa2048", "ssl_certificate good.pem; ssl_certificate_key good.key; ssl_protocols TLSv1.2;"),
    (6013, "policies", ""),
    (6014, "rare_strings", ""),
    (6015, "negative_serial", ""),
];

/// What `openssl s_server` serves: the port, the certificate, and how it speaks.
pub(crate) const OPENSSL: [(u16, &str, &str); 11] = [
    (6021, "rsa1024", "-tls1_3"),
    (6022, "rsa1024", "-tls1_2"),
    (6023, "rsa1536", "-tls1_3"),
    (6024, "under_rsa1024", "-tls1_3"),
    (6025, "good", "-tls1_3 -groups P-521"),
    (6026, "good", "-tls1_2 -groups P-521"),
    (6027, "p521", "-tls1_3"),
    (6028, "rsa2048", "-tls1_2 -sigalgs RSA+SHA1"),
    (6029, "good", "-tls1_2 -sigalgs ECDSA+SHA1"),
    (6030, "p384", "-tls1_2 -sigalgs ECDSA+SHA1"),
    (6031, "rsa2048", "-tls1_2 -cipher ECDHE-RSA-AES128-SHA@SECLEVEL=0"),
];

/// The policy 1.2.3, as `certificatePolicies` says it (RFC 5280, section 4.2.1.4).
const POLICIES: &[u8] = &[0x30, 6, 0x30, 4, 0x06, 2, 0x2a, 3];

/// Writes them all: `NAME.pem` and `NAME.key`, and of those that are trusted by themselves `NAME_ca.pem`.
pub(crate) fn write(folder: &Path, openssl: &Path, authority: &Authority) {
    let pair = |name: &str, issuer: &Authority, change: &dyn Fn(&mut CertificateParams)| {
        issuer.issue(&server(name, change), &KeyPair::generate().unwrap()).write(folder, name);
    };
    pair("wildcard", authority, &|params| {
        params.subject_alt_names = vec![SanType::DnsName("*.test".try_into().unwrap())];
    });
    pair("any_purpose", authority, &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]);
    pair("ca_too", authority, &|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    pair("old_strings", authority, &|params| {
        let name = &mut params.distinguished_name;
        name.push(DnType::OrganizationName, DnValue::BmpString("Zoë, 東京".try_into().unwrap()));
        name.push(DnType::LocalityName, DnValue::TeletexString("Seoul".try_into().unwrap()));
        name.push(DnType::CountryName, DnValue::PrintableString("KR".try_into().unwrap()));
        name.push(DnType::OrganizationalUnitName, "servers");
        name.push(DnType::StateOrProvinceName, "Seoul");
        // STREET, POSTALCODE, SERIALNUMBER, and two without a name for Go: the title, and an address of mail.
        for (oid, value) in [
            (&[2, 5, 4, 9][..], "1, Main St."),
            (&[2, 5, 4, 17], "04524"),
            (&[2, 5, 4, 5], "17"),
            (&[2, 5, 4, 12], "a*b"),
        ] {
            name.push(DnType::from_oid(oid), value);
        }
        let mail = DnValue::Ia5String("a@both.test".try_into().unwrap());
        name.push(DnType::from_oid(&[1, 2, 840, 113_549, 1, 9, 1]), mail);
    });
    pair("rare_strings", authority, &|params| {
        let name = DnValue::UniversalString("Zoë".try_into().unwrap());
        params.distinguished_name.push(DnType::OrganizationName, name);
    });
    pair("policies", authority, &|params| {
        let mut policies = CustomExtension::from_oid_content(&[2, 5, 29, 32], POLICIES.to_vec());
        policies.set_criticality(true);
        params.custom_extensions.push(policies);
    });
    let algorithms =
        [("p384", &PKCS_ECDSA_P384_SHA384), ("p521", &PKCS_ECDSA_P521_SHA512), ("rsa2048", &PKCS_RSA_SHA256)];
    for (name, algorithm) in algorithms {
        let key = KeyPair::generate_for(algorithm).unwrap();
        authority.issue(&server(name, &|_| {}), &key).write(folder, name);
    }
    let key = KeyPair::generate().unwrap();
    let clients =
        server("of_clients", &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    Pair { cert: clients.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }.write(folder, "of_clients");

    let cas = ["under_ended", "under_a_server", "under_one_of_clients", "under_one_that_signs_nothing"];
    for name in cas {
        let mut ca = server(&format!("{name}, its issuer"), &|ca| ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        match name {
            "under_ended" => ca.not_after = date_time_ymd(2001, 1, 1),
            "under_a_server" => ca.is_ca = IsCa::ExplicitNoCa,
            "under_one_of_clients" => ca.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            _ => ca.key_usages = vec![KeyUsagePurpose::CrlSign],
        }
        let issuer = Authority::of(ca);
        fs::write(folder.join(format!("{name}_ca.pem")), issuer.pem()).unwrap();
        pair(name, &issuer, &|_| {});
    }

    // Keys that rcgen makes none of.
    let run = |arguments: &str| {
        let mut command = Command::new(openssl);
        let output = command.args(arguments.split_whitespace()).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    fs::write(folder.join("ca.key"), authority.key()).unwrap();
    fs::write(folder.join("names"), "subjectAltName = DNS:both.test, IP:127.0.0.1\nbasicConstraints = CA:FALSE\n")
        .unwrap();
    run("req -x509 -newkey rsa:1024 -nodes -subj /CN=short -days 1000 -keyout rsa1024_ca.key -out rsa1024_ca.pem");
    for (name, bits, ca, serial) in [
        ("rsa1024", 1024, "ca", 7),
        ("rsa1536", 1536, "ca", 7),
        ("under_rsa1024", 2048, "rsa1024_ca", 7),
        ("negative_serial", 2048, "ca", -7),
    ] {
        run(&format!("req -newkey rsa:{bits} -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        run(&format!(
            "x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -set_serial {serial} -days 900 -extfile names -out {name}.pem"
        ));
    }
}

/// A server's certificate, but for a change.
fn server(name: &str, change: &dyn Fn(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["both.test".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2090, 1, 1));
    change(&mut params);
    params
}
