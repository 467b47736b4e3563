//! What becomes of services: defaults, refusals, rows.

use serde_json::{Value, json};

use super::ServiceRules;
use crate::kind::testing::{Story, check_cells};

const KIND: Story = Story { plural: "services", group: "" };

fn headless(spec: Value) -> Value {
    let mut service = json!({"metadata": {"name": "a"}, "spec": {"clusterIP": "None", "selector": {"app": "x"}}});
    for (field, value) in spec.as_object().unwrap() {
        service["spec"][field] = value.clone();
    }
    service
}

#[test]
fn a_headless_service_gets_the_defaults_of_a_cluster() {
    let object = KIND.creates(headless(json!({"ports": [{"port": 80}]})));
    assert_eq!(
        object.0["spec"],
        json!({
            "clusterIP": "None", "clusterIPs": ["None"], "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            "selector": {"app": "x"}, "sessionAffinity": "None", "type": "ClusterIP",
        })
    );
    assert_eq!(object.0["status"], json!({"loadBalancer": {}}));
    check_cells(&ServiceRules, &object, json!(["a", "ClusterIP", "None", "<none>", "80/TCP", "5m", "app=x"]));
    let bare = KIND.creates(json!({"metadata": {"name": "a"}, "spec": {"clusterIPs": ["None"]}}));
    check_cells(&ServiceRules, &bare, json!(["a", "ClusterIP", "None", "<none>", "<none>", "5m", "<none>"]));
}

#[test]
fn what_needs_a_proxy_is_refused_by_name() {
    let not_run = "Forbidden: not run by this version of jobd, which serves headless services only (clusterIP: None)";
    KIND.refuses(
        json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}),
        &[&format!("spec.clusterIP: {not_run}")],
    );
    KIND.refuses(
        json!({"metadata": {"name": "a"}, "spec": {"clusterIP": "10.0.0.1"}}),
        &[&format!("spec.clusterIP: {not_run}")],
    );
    for type_ in ["NodePort", "LoadBalancer", "ExternalName"] {
        KIND.refuses(headless(json!({"type": type_})), &[&format!("spec.type: {not_run}")]);
    }
    KIND.refuses(headless(json!({"externalIPs": ["1.2.3.4"]})), &[&format!("spec.externalIPs: {not_run}")]);
}

#[test]
fn ports_are_numbers_with_names_of_their_own() {
    let two = json!({"ports": [{"port": 80}, {"port": 80, "name": "b"}]});
    KIND.refuses(
        headless(two),
        &["spec.ports[0].name: Required value", "spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}"],
    );
    KIND.refuses(
        headless(json!({"ports": [{"port": 0, "targetPort": 70000, "protocol": "ICMP", "nodePort": 5}]})),
        &[
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            "spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ],
    );
}

#[test]
fn an_update_keeps_the_address_that_it_leaves_out() {
    let old = headless(json!({}));
    let updated = KIND.updates(&old, json!({"metadata": {"name": "a"}, "spec": {"selector": {"app": "y"}}}));
    assert_eq!(updated.0["spec"]["clusterIPs"], json!(["None"]));
    assert_eq!(updated.0["spec"]["selector"], json!({"app": "y"}));
}

#[test]
fn a_name_begins_with_a_letter() {
    let refused = KIND.fails(json!({"metadata": {"name": "1a"}, "spec": {"clusterIP": "None"}}));
    assert!(refused.message.contains("a DNS-1035 label must consist of"), "{refused}");
}
