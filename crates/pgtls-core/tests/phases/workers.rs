//! Workers on demand: a crowd is spread over several, and every session is served wherever it was placed.

use pgtls_testkit::FakeBackend;

use crate::stage::{Client, Pki, Stage};

#[tokio::test]
async fn a_crowd_of_idle_sessions_starts_the_next_worker_and_all_are_served() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    options.workers = 3;
    let stage = Stage::start(&options).await;
    assert_eq!(
        stage.snapshot().workers,
        0,
        "no worker before there is work"
    );
    let mut crowd: Vec<Client> = Vec::new();
    crowd.push(stage.login(&pki.client()).await);
    assert!((1..=3).contains(&stage.snapshot().workers));
    for _ in 0..110 {
        crowd.push(stage.login(&pki.client()).await);
    }
    let now = stage.snapshot();
    assert_eq!(
        (now.workers, now.worker_restarts, now.live_sessions),
        (3, 0, 111)
    );
    for client in &mut crowd {
        client.echo("select 'wherever I am'").await;
    }
    for client in crowd {
        client.close().await;
    }
    stage.finish().await;
}

#[tokio::test]
async fn never_more_workers_run_than_allowed() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let stage = Stage::start(&pki.options(&[&backend])).await;
    let mut crowd = Vec::new();
    for _ in 0..70 {
        crowd.push(stage.login_plain().await);
    }
    assert_eq!(stage.snapshot().workers, 1);
    for client in crowd {
        client.close().await;
    }
    stage.finish().await;
}

#[tokio::test]
async fn sessions_of_several_workers_are_all_cut_by_close() {
    let pki = Pki::new();
    let backend = FakeBackend::builder().listen().await;
    let mut options = pki.options(&[&backend]);
    options.workers = 2;
    let stage = Stage::start(&options).await;
    let mut crowd = Vec::new();
    for _ in 0..70 {
        crowd.push(stage.login_plain().await);
    }
    assert_eq!(stage.snapshot().workers, 2);
    let farewells = async {
        for mut client in crowd {
            assert_eq!(client.fatal().await.sqlstate, "57P01");
        }
    };
    tokio::join!(stage.close(), farewells);
    assert_eq!(stage.snapshot().live_sessions, 0);
    stage.assert_one_report_each();
}
