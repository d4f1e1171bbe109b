//! The soak: so many players at a time, each playing one life after another until time is up.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client::Dialler;
use crate::random::Random;
use crate::scenario::{Life, Player, SCENARIOS, Scenario};

/// Between two lives of a player: the machine is not ours alone.
const PAUSE_MILLIS: u32 = 80;

/// How long, by how many, and from which seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seconds: u64,
    pub(crate) players: u64,
    pub(crate) seed: u64,
}

/// Plays until time is up and every life has ended.
pub(crate) async fn run(dialler: &Rc<Dialler>, plan: Plan) {
    let end = Instant::now() + Duration::from_secs(plan.seconds);
    let mut players = tokio::task::JoinSet::new();
    for number in 0..plan.players {
        let dialler = Rc::clone(dialler);
        let mut random = Random::new(plan.seed.wrapping_mul(1000).wrapping_add(number));
        players.spawn_local(async move {
            while Instant::now() < end {
                play_one(&dialler, &mut random).await;
                sleep(Duration::from_millis(u64::from(
                    random.below_u32(PAUSE_MILLIS),
                )))
                .await;
            }
        });
    }
    while players.join_next().await.is_some() {}
}

async fn play_one(dialler: &Dialler, random: &mut Random) {
    let Scenario { name, life, .. } = choose(random);
    let account = dialler.ledger.open(name, life.survives(), life.prefix());
    let mut player = Player {
        dialler,
        account: Rc::clone(&account),
        random,
    };
    let outcome = player.play(*life).await;
    let Err(error) = outcome else {
        return;
    };
    let is_stuck = error.kind() == std::io::ErrorKind::TimedOut;
    // Cut short is cut short; but nobody may wait for ever, and who survives may not fail at all.
    if life.survives() || (is_stuck && *life != Life::NeverReadByBackend) {
        *account.failure.borrow_mut() = Some(error.to_string());
    }
}

fn choose(random: &mut Random) -> &'static Scenario {
    let total: u32 = SCENARIOS.iter().map(|scenario| scenario.weight).sum();
    let mut left = random.below_u32(total);
    for scenario in &SCENARIOS {
        if left < scenario.weight {
            return scenario;
        }
        left = left.saturating_sub(scenario.weight);
    }
    &SCENARIOS[0]
}
