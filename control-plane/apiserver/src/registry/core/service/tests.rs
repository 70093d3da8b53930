use super::*;
use crate::registry::check::shown_errors;
use expect_test::expect;

fn made(spec: Value) -> Value {
    let mut object = json!({"metadata": {"name": "a"}, "spec": spec});
    Service.default(&mut object);
    Service.prepare_for_create(&mut object);
    object
}

fn updated(old: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut new = old.clone();
    change(&mut new);
    Service.default(&mut new);
    Service.prepare_for_update(&mut new, old, Part::Main);
    new
}

#[test]
fn a_plain_service_wants_an_address() {
    let mut service = made(json!({"ports": [{"port": 80}]}));
    assert!(allocation::wants_cluster_ip(&service));
    assert_eq!(allocation::node_ports(&service), []);
    allocation::set_cluster_ip(&mut service, "10.96.0.9");
    expect![[r#"{"clusterIP":"10.96.0.9","clusterIPs":["10.96.0.9"],"internalTrafficPolicy":"Cluster","ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","ports":[{"port":80,"protocol":"TCP","targetPort":80}],"sessionAffinity":"None","type":"ClusterIP"}"#]]
        .assert_eq(&service["spec"].to_string());
    assert_eq!(Service.validate(&service), []);
}

#[test]
fn headless_and_external_services_want_none() {
    for spec in [json!({"clusterIP": "None"}), json!({"type": "ExternalName", "externalName": "a.example.com"})] {
        let service = made(spec);
        assert!(!allocation::wants_cluster_ip(&service) && allocation::requested_cluster_ip(&service).is_none());
        assert_eq!(Service.validate(&service), []);
    }
}

#[test]
fn allocated_values_survive_an_update_that_leaves_them_out() {
    let mut old = made(json!({"type": "NodePort", "ports": [{"name": "a", "port": 80}]}));
    allocation::set_cluster_ip(&mut old, "10.96.0.9");
    allocation::set_node_port(&mut old, 0, 30001);
    let new = updated(&old, |new| new["spec"] = json!({"type": "NodePort", "ports": [{"name": "a", "port": 81}]}));
    assert_eq!(new["spec"]["clusterIPs"], json!(["10.96.0.9"]));
    assert_eq!(new["spec"]["ports"][0]["nodePort"], 30001);
    let external = updated(&old, |new| new["spec"]["type"] = json!("ExternalName"));
    expect![[r#"{"ports":[{"name":"a","port":80,"protocol":"TCP","targetPort":80}],"sessionAffinity":"None","type":"ExternalName"}"#]]
        .assert_eq(&external["spec"].to_string());
}

#[test]
fn an_address_cannot_change() {
    let mut old = made(json!({"ports": [{"port": 80}]}));
    allocation::set_cluster_ip(&mut old, "10.96.0.9");
    let new = updated(&old, |new| new["spec"]["clusterIP"] = json!("10.96.3.4"));
    expect![[r#"spec.clusterIPs[0]: Invalid value: []string{"10.96.3.4"}: may not change once set"#]]
        .assert_eq(&shown_errors(&Service.validate_update(&new, &old, Part::Main)));
}

#[test]
fn what_is_wrong_is_said_in_upstreams_order() {
    let ports = json!([{"port": 0}, {"port": 1, "nodePort": 30080, "protocol": "X"}]);
    let service = made(json!({"clusterIP": "junk", "ports": ports}));
    expect![[r#"
        spec.ports[0].name: Required value
        spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
        spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive
        spec.ports[1].name: Required value
        spec.ports[1].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"
        spec.clusterIPs[0]: Invalid value: "junk": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        spec.ports[1].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"#]]
    .assert_eq(&shown_errors(&Service.validate(&service)));
}
