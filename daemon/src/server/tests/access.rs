//! Who gets in: tokens, hosts, origins, sizes.

use std::sync::Arc;

use axum::{body::Body, http::Request};
use tower::ServiceExt as _;

use super::support::*;
use crate::server::{Access, Token, router};

#[tokio::test]
async fn wrong_tokens_get_a_status_and_web_pages_nothing_w5() {
    let client = Client::new().await;
    let mut random = &crate::sys::SharedRandom::seeded(3);
    let token = Token::read_or_make(&client.directory.path().join("token"), &mut random).unwrap();
    let again = Token::read_or_make(&client.directory.path().join("token"), &mut random).unwrap();
    assert_eq!(token.secret(), again.secret());
    let secret = format!("Bearer {}", token.secret());
    for (uri, header, code) in [
        ("/api/v1/pods", None, 401),
        ("/api/v1/pods", Some(("authorization", "Bearer wrong")), 401),
        ("/api/v1/pods", Some(("authorization", secret.as_str())), 200),
        ("/readyz", None, 200),
        ("/version", Some(("origin", "https://example.com")), 403),
    ] {
        let router = router(Arc::clone(&client.app), Access::Token(token.clone()));
        let mut request = Request::builder().uri(uri);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status().as_u16(), code, "{uri} {header:?}");
    }
}
