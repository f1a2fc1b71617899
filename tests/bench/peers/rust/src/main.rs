//! The Rust client in-process: rocketmq-remoting's RocketmqDefaultClient against the stub
//!
//!     bench-peer HOST:PORT IN_FLIGHT BODY WARM_UP_SECONDS SECONDS
//!
//! IN_FLIGHT tasks share one client, and so one connection; each sends its next request when it has
//! its answer, which has to carry the request's token. On one CPU tokio's current-thread runtime is
//! taken, which is the faster one there. Prints one JSON object as bench_load does; the CPU is this
//! process's.

use bytes::Bytes;
use cheetah_string::CheetahString;
use rocketmq_remoting::clients::rocketmq_tokio_client::RocketmqDefaultClient;
use rocketmq_remoting::clients::RemotingClient;
use rocketmq_remoting::protocol::remoting_command::RemotingCommand;
use rocketmq_remoting::request_processor::default_request_processor::DefaultRemotingRequestProcessor;
use rocketmq_remoting::runtime::config::client_config::TokioClientConfig;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SEND_MESSAGE_V2: i32 = 310;
const TOKEN_SIZE: usize = 16;
const TIMEOUT_MILLIS: u64 = 10_000;

fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The ext fields of the callers of tests/bench/request.c.
fn ext_fields(address: &str) -> HashMap<CheetahString, CheetahString> {
    [
        ("b", "bench"),
        ("sidecar.addr", address),
        ("a", "bench_producers"),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "0"),
        ("f", "0"),
        ("g", "1795401242924"),
        ("i", "UNIQ_KEY\u{1}7F00000100012A139E5D000000000001\u{2}"),
    ]
    .into_iter()
    .map(|(key, value)| (CheetahString::from_slice(key), CheetahString::from_slice(value)))
    .collect()
}

/// Both ends of a body carry the token.
fn body(size: usize, worker: u64, number: u64) -> Bytes {
    let mut token = [0u8; TOKEN_SIZE];
    token[..8].copy_from_slice(&worker.to_be_bytes());
    token[8..].copy_from_slice(&number.to_be_bytes());
    let mut body = vec![b'x'; size];
    body[..TOKEN_SIZE].copy_from_slice(&token);
    body[size - TOKEN_SIZE..].copy_from_slice(&token);
    Bytes::from(body)
}

/// One worker's latencies in nanoseconds, of what began after `measure` was set, and all its requests.
async fn work(
    client: Arc<RocketmqDefaultClient>,
    address: CheetahString,
    size: usize,
    worker: u64,
    measure: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
) -> (Vec<u64>, u64) {
    let mut latencies = Vec::new();
    let ext_fields = ext_fields(&address);
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let sent = body(size, worker, number);
        let request = RemotingCommand::create_remoting_command(SEND_MESSAGE_V2)
            .set_ext_fields(ext_fields.clone())
            .set_body(sent.clone());
        let is_measured = measure.load(Ordering::Relaxed);
        let begin = Instant::now();
        let answer = client
            .invoke_request(Some(&address), request, TIMEOUT_MILLIS)
            .await
            .expect("an answer");
        if is_measured {
            latencies.push(begin.elapsed().as_nanos() as u64);
        }
        let body = answer.body().expect("a body");
        assert_eq!(answer.code(), 0, "the code of an answer");
        assert_eq!(body[..TOKEN_SIZE], sent[..TOKEN_SIZE], "the token of an answer");
        number += 1;
    }
    (latencies, number)
}

async fn run(address: &str, in_flight: u64, size: usize, warm_up: f64, seconds: f64) {
    let client = Arc::new(RocketmqDefaultClient::new(
        Arc::new(TokioClientConfig::default()),
        DefaultRemotingRequestProcessor,
    ));
    let address = CheetahString::from_slice(address);
    let measure = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..in_flight)
        .map(|worker| {
            tokio::spawn(work(
                client.clone(),
                address.clone(),
                size,
                worker,
                measure.clone(),
                stop.clone(),
            ))
        })
        .collect();
    tokio::time::sleep(Duration::from_secs_f64(warm_up)).await;
    measure.store(true, Ordering::Relaxed);
    let (begin, cpu) = (Instant::now(), cpu_seconds());
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let (elapsed, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let mut latencies = Vec::new();
    let mut total = 0;
    for worker in workers {
        let (own, number) = worker.await.expect("a worker that ends well");
        latencies.extend(own);
        total += number;
    }
    latencies.sort_unstable();
    let percentile = |percent: f64| {
        let at = (latencies.len() as f64 * percent / 100.0) as usize;
        latencies[at.min(latencies.len() - 1)] as f64 / 1e3
    };
    println!(
        "{{\"requests\": {}, \"total\": {}, \"seconds\": {:.6}, \"rate\": {:.1}, \
         \"p50_us\": {:.2}, \"p99_us\": {:.2}, \"cpu_s\": {:.6}}}",
        latencies.len(),
        total,
        elapsed,
        latencies.len() as f64 / elapsed,
        percentile(50.0),
        percentile(99.0),
        cpu
    );
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match std::thread::available_parallelism()?.get() {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() != 6 {
        eprintln!("usage: bench-peer HOST:PORT IN_FLIGHT BODY WARM_UP_SECONDS SECONDS");
        std::process::exit(2);
    }
    let number = |at: usize| arguments[at].parse::<f64>().expect("a number");
    runtime().expect("a runtime").block_on(run(
        &arguments[1],
        number(2) as u64,
        number(3) as usize,
        number(4),
        number(5),
    ));
}
