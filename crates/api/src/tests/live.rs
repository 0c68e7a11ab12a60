use super::*;

#[tokio::test]
async fn live_updates_need_an_upgrade() {
    let server = Server::new();
    server.check_contains(get("/v1/ws"), 400, "need a WebSocket").await;
}
