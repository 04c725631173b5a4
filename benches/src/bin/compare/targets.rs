//! What the comparison is to show, and whether it does.

use std::fmt;

use crate::{
    figure::{Case, Durability, Subject, Unit},
    store::Store,
    workload::{
        FIRST_START, KIB, MOST_MEMORY, Workload, end_to_end, partitions,
        throughput::{self, Kind},
        unbatched,
    },
};

/// Where the machine forbids a figure, this part of what it allows counts as the target: of a rate, or of
/// processor time or a latency as its reciprocal.
const OF_CEILING: f64 = 0.7;
/// What acknowledgements may take beyond the linger.
const BEYOND_LINGER_MS: f64 = 2.0;
/// Broker CPU-s per GiB produced with pre-encoded frames, and consumed; and against Kafka's.
const PRODUCE_CPU_S: f64 = 0.8;
const PRODUCE_CPU_TIMES: Wanted = Wanted::TimesAtMost(1.0 / 3.0);
const CONSUME_CPU_S: f64 = 0.4;
const CONSUME_CPU_TIMES: Wanted = Wanted::TimesAtMost(0.8);
/// One request on its way on one connection.
const UNBATCHED_P50_MS: f64 = 0.07;
const UNBATCHED_P99_MS: f64 = 0.3;

/// A figure that is held against a bound.
#[derive(Debug, Clone)]
struct Target {
    workload: Workload,
    ours: (Case, Unit),
    kafkas: (Case, Unit),
    wanted: Wanted,
    /// What the machine allows at most, as cases of the same workload.
    ceilings: &'static [&'static str],
}

#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// Ours divided by Kafka's.
    TimesAtLeast(f64),
    TimesAtMost(f64),
    /// Ours, whatever Kafka's is.
    AtMost(f64),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimesAtLeast(times) => write!(f, "at least {times} x Kafka's"),
            Self::TimesAtMost(times) if *times < 0.5 => {
                write!(f, "at most 1/{:.0} of Kafka's", 1.0 / times)
            }
            Self::TimesAtMost(times) => write!(f, "at most {times} x Kafka's"),
            Self::AtMost(most) => write!(f, "at most {most}"),
        }
    }
}

/// A target and what was found.
#[derive(Debug)]
pub struct Held {
    /// What is measured.
    pub what: String,
    /// The bound in words.
    pub wanted: String,
    /// Median of Kafka's rounds.
    pub kafkas: f64,
    /// Median of ours.
    pub ours: f64,
    /// Whether it is met, and by which rule.
    pub verdict: &'static str,
}

/// All targets of a workload for which there are figures of both brokers.
pub fn held(store: &Store, workload: Workload) -> Vec<Held> {
    let targets = match workload {
        Workload::A => acknowledgements(),
        Workload::B => throughput(),
        Workload::D => unbatched(),
        Workload::E => idle_partitions(),
    };
    let held = targets.iter().filter_map(|target| target.held(store));
    held.collect()
}

impl Target {
    fn new(workload: Workload, case: Case, unit: Unit, wanted: Wanted) -> Self {
        Self {
            workload,
            ours: (case.clone(), unit),
            kafkas: (case, unit),
            wanted,
            ceilings: &[],
        }
    }

    /// With what the machine allows at most.
    const fn within(mut self, ceilings: &'static [&'static str]) -> Self {
        self.ceilings = ceilings;
        self
    }

    fn held(&self, store: &Store) -> Option<Held> {
        let median = |subject, (case, unit): &(Case, Unit)| {
            store.median(self.workload, subject, case, *unit)
        };
        let ours = median(Subject::Millstream, &self.ours)?;
        let kafkas = median(Subject::Kafka, &self.kafkas)?;
        let ceilings = self.ceilings.iter().filter_map(|case| {
            let ceiling = (Case::new(*case), self.ours.1);
            median(Subject::Machine, &ceiling)
        });
        let ceiling = ceilings.reduce(|one, other| self.wanted.tighter(one, other));
        let (case, unit) = &self.ours;
        let mut what = format!("{case}: {unit}");
        let (kafkas_case, kafkas_unit) = &self.kafkas;
        if kafkas_unit != unit {
            what += &format!(" against {kafkas_unit}");
        }
        if kafkas_case != case {
            what += &format!(" against {kafkas_case}");
        }
        Some(Held {
            what,
            wanted: self.wanted.to_string(),
            kafkas,
            ours,
            verdict: self.wanted.verdict(ours, kafkas, ceiling),
        })
    }
}

impl Wanted {
    /// The ceiling that allows less.
    fn tighter(self, one: f64, other: f64) -> f64 {
        match self {
            Self::TimesAtLeast(_) => one.min(other),
            Self::TimesAtMost(_) | Self::AtMost(_) => one.max(other),
        }
    }

    fn verdict(self, ours: f64, kafkas: f64, ceiling: Option<f64>) -> &'static str {
        let is_within = |value: f64| match self {
            Self::TimesAtLeast(times) => value >= times * kafkas,
            Self::TimesAtMost(times) => value <= times * kafkas,
            Self::AtMost(most) => value <= most,
        };
        let is_near = |ceiling: f64| match self {
            Self::TimesAtLeast(_) => ours >= ceiling * OF_CEILING,
            Self::TimesAtMost(_) | Self::AtMost(_) => ours <= ceiling / OF_CEILING,
        };
        if is_within(ours) {
            return "met";
        }
        match ceiling {
            Some(ceiling) if !is_within(ceiling) && is_near(ceiling) => {
                "met: 0.7 of what the machine allows, which is less"
            }
            _ => "**missed**",
        }
    }
}

/// Targets that hold for the start and the memory in every workload.
fn start_and_memory(workload: Workload) -> [Target; 2] {
    let mut memory = Target::new(
        workload,
        Case::new(MOST_MEMORY),
        Unit::OwnMib,
        Wanted::TimesAtMost(0.1),
    );
    memory.kafkas.1 = Unit::ResidentMib;
    let start = Target::new(
        workload,
        Case::new(FIRST_START),
        Unit::Ms,
        Wanted::TimesAtMost(0.05),
    );
    [start, memory]
}

fn throughput() -> Vec<Target> {
    let mut targets = Vec::new();
    for ceiling in &throughput::LIBRDKAFKA_CEILINGS {
        let partitions = ceiling.partitions;
        for durability in Durability::ALL {
            let of = |kind: Kind| kind.case(KIB, partitions).with(durability);
            let bare = bare_produce(partitions, durability);
            let librdkafka = of(Kind::LibrdkafkaProduce);
            let rate = Target::new(
                Workload::B,
                librdkafka.clone(),
                Unit::MbPerS,
                Wanted::TimesAtLeast(1.5),
            );
            targets.push(rate.within(std::slice::from_ref(&ceiling.sink)));
            let frames = of(Kind::FramesProduce);
            for (case, unit, wanted) in [
                (frames.clone(), Unit::MbPerS, Wanted::TimesAtLeast(3.0)),
                (librdkafka, Unit::BrokerCpuPerGib, PRODUCE_CPU_TIMES),
                (frames.clone(), Unit::BrokerCpuPerGib, PRODUCE_CPU_TIMES),
                (frames, Unit::BrokerCpuPerGib, Wanted::AtMost(PRODUCE_CPU_S)),
            ] {
                targets.push(Target::new(Workload::B, case, unit, wanted).within(bare));
            }
        }
        for (kind, bare) in [
            (Kind::LibrdkafkaConsume, &ceiling.shelf),
            (Kind::FramesFetch, &throughput::BARE_FETCH),
        ] {
            for wanted in [CONSUME_CPU_TIMES, Wanted::AtMost(CONSUME_CPU_S)] {
                let case = kind.case(KIB, partitions);
                let target = Target::new(Workload::B, case, Unit::BrokerCpuPerGib, wanted);
                targets.push(target.within(std::slice::from_ref(bare)));
            }
        }
    }
    targets.extend(flushed_against_memory());
    targets.extend(start_and_memory(Workload::B));
    targets
}

/// What a broker has to do at least with batches of 64 KiB: to a file, to a disk, to many files of it.
const fn bare_produce(partitions: i32, durability: Durability) -> &'static [&'static str] {
    match (durability, partitions) {
        (Durability::Memory, _) => &[throughput::BARE_PRODUCE],
        (Durability::Flushed, 1) => &[throughput::DISK, throughput::BARE_FLUSHED],
        (Durability::Flushed, _) => &[throughput::DISK_MANY, throughput::BARE_FLUSHED_MANY],
    }
}

/// Our slower durability against Kafka's faster one.
fn flushed_against_memory() -> impl Iterator<Item = Target> {
    let kinds = [Kind::LibrdkafkaProduce, Kind::FramesProduce];
    let cases = kinds
        .into_iter()
        .flat_map(|kind| [1, 16].map(|partitions| (partitions, kind.case(KIB, partitions))));
    cases.map(|(partitions, case)| Target {
        workload: Workload::B,
        ours: (case.clone().with(Durability::Flushed), Unit::MbPerS),
        kafkas: (case.with(Durability::Memory), Unit::MbPerS),
        wanted: Wanted::TimesAtLeast(1.0),
        ceilings: bare_produce(partitions, Durability::Flushed),
    })
}

fn acknowledgements() -> Vec<Target> {
    let mut targets = Vec::new();
    for pace in end_to_end::paces() {
        for durability in Durability::ALL {
            let case = pace.acknowledged().with(durability);
            let wanted = match (pace.linger_ms, durability) {
                (0, _) => Wanted::TimesAtMost(1.0 / 3.0),
                (linger_ms, Durability::Memory) => {
                    Wanted::AtMost(linger_ms as f64 + BEYOND_LINGER_MS)
                }
                (_, Durability::Flushed) => continue,
            };
            targets.push(Target::new(Workload::A, case, Unit::P99Ms, wanted));
        }
    }
    targets.extend(start_and_memory(Workload::A));
    targets
}

fn unbatched() -> Vec<Target> {
    let of = |case: Case, unit, wanted| Target::new(Workload::D, case, unit, wanted);
    let many = unbatched::case(1_000).with(Durability::Flushed);
    let one = unbatched::case(1).with(Durability::Memory);
    let mut targets = vec![
        of(many, Unit::RecordsPerS, Wanted::TimesAtLeast(3.0)),
        of(one.clone(), Unit::P50Ms, Wanted::AtMost(UNBATCHED_P50_MS)).within(&[unbatched::BARE]),
        of(one, Unit::P99Ms, Wanted::AtMost(UNBATCHED_P99_MS)).within(&[unbatched::BARE]),
    ];
    targets.extend(start_and_memory(Workload::D));
    targets
}

fn idle_partitions() -> Vec<Target> {
    let start = |case| {
        let case = Case::new(case);
        Target::new(Workload::E, case, Unit::Ms, Wanted::TimesAtMost(0.05))
    };
    let mut idle = Target::new(
        Workload::E,
        Case::new(partitions::IDLE),
        Unit::OwnMib,
        Wanted::TimesAtMost(0.1),
    );
    idle.kafkas.1 = Unit::ResidentMib;
    let mut targets = vec![
        start(partitions::CLEAN_START),
        start(partitions::KILLED_START),
        idle,
    ];
    let [first_start, _] = start_and_memory(Workload::E);
    targets.push(first_start);
    targets
}
