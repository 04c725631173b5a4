// Asks the broker once a second and shows the answer. Texts of others (names, reasons) are only ever
// set as text, never as HTML.

import { draw } from "./chart.js";
import { age, bytes, count, duration, plural, rate } from "./format.js";

const POLL_MS = 1000;
const ANSWER_WITHIN_MS = 5000;
// Headline figures and rates of topics are means over these.
const SAMPLES_IN_FIGURE = 3;
const LOOKS_IN_RATE = 5;
// Rates that a topic's line shows.
const LOOKS_IN_LINE = 60;
const DEFAULT_SERVER = "127.0.0.1:9192";
const DISK_LOW_SHARE = 0.1;
// A group that is further behind stands out.
const BEHIND_MS = 60_000;

const element = (id) => document.getElementById(id);
const find = element("find");

/** Looks at the topics' counters, the newest last: [{ms, uptime_ms, traffic: Map}]. */
let looks = [];
/** Rates of each topic, the newest last. */
let lines = new Map();
let answeredAt = performance.now();

// --- Rendering -------------------------------------------------------------------------------

/** Sets the text of every element below `root` that names a field. */
function fill(root, values) {
  for (const field of root.querySelectorAll("[data-field]")) {
    const value = values[field.dataset.field];
    if (value === undefined) continue;
    const text = value === null ? "" : String(value);
    if (field.textContent === text) continue;
    field.textContent = text;
    if (field.classList.contains("chip")) field.dataset.value = text;
  }
}

const clone = (template) => element(template).content.firstElementChild.cloneNode(true);

/** Keeps the rows of a table equal to `rows`, in their order; rows are found again by their key. */
function keep(body, template, rows, key, show) {
  const old = new Map([...body.children].map((row) => [row.dataset.key, row]));
  rows.forEach((values, index) => {
    const id = key(values);
    const row = old.get(id) ?? clone(template);
    old.delete(id);
    row.dataset.key = id;
    if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
    show(row, values);
  });
  for (const row of old.values()) row.remove();
}

function showTable(section, listing, empty) {
  const hasRows = listing.rows.length > 0;
  section.querySelector("table").hidden = !hasRows;
  section.querySelector(".empty").hidden = hasRows;
  const hidden = listing.found - listing.rows.length;
  fill(section, {
    count: count(listing.total),
    more: hidden > 0 ? `${count(hidden)} more; find them by name` : "",
    ...(hasRows ? {} : listing.total > 0 ? nothingFound() : empty),
  });
}

const nothingFound = () => ({ empty: `Nothing matches “${find.value}”`, hint: "", commands: "" });

// --- Header and alerts -----------------------------------------------------------------------

function showBroker({ broker }) {
  fill(element("broker"), {
    id: `broker ${broker.id}`,
    address: broker.address,
    uptime: `up ${duration(broker.uptime_ms)}`,
    version: broker.version.replace(/ \(.*/, ""),
  });
  element("broker").title = broker.version;
  fill(element("cluster").parentElement, { cluster: `cluster ${broker.cluster_id}` });
  showPhase(broker.phase);
}

function showPhase(phase) {
  fill(document.querySelector("header"), { phase });
  document.body.dataset.phase = phase;
}

function alertsOf({ disk, offline, broker }) {
  const alerts = [];
  const free = disk.available_bytes / disk.total_bytes;
  if (disk.full) {
    alerts.push({
      level: "bad",
      what: "The disk is full: produce is refused",
      hint: `Free space below ${disk.path}, or shorten retention. Produce resumes by itself; fetch goes on.`,
    });
  } else if (free < DISK_LOW_SHARE) {
    alerts.push({
      level: "warn",
      what: `The disk is nearly full: ${bytes(disk.available_bytes)} free`,
      hint: "Shorten retention.ms or retention.bytes of large topics, or add space.",
    });
  }
  if (offline.total > 0) {
    alerts.push({
      level: "bad",
      what: `${plural(offline.total, "partition")} offline`,
      hint: "They serve nothing on this broker; all others go on. Mend the cause and restart the broker.",
      items: offline.rows,
    });
  }
  if (broker.phase === "stopping") {
    alerts.push({ level: "warn", what: "The broker is stopping", hint: "New work is refused." });
  }
  return alerts;
}

function showAlerts(alerts) {
  keep(element("alerts"), "alert", alerts, ({ what }) => what, (alert, { level, what, hint, items }) => {
    alert.className = `alert ${level}`;
    fill(alert, { what, hint });
    keep(alert.querySelector("ul"), "offline", items ?? [], ({ partition }) => partition, fill);
  });
  document.title = alerts.length > 0 ? "(!) Millstream" : "Millstream";
}

// --- Cards -----------------------------------------------------------------------------------

function showThroughput({ throughput }) {
  const now = (field) => mean(throughput[field].slice(-SAMPLES_IN_FIGURE));
  const chart = (id, ...series) =>
    draw(element(id).querySelector("svg"), series, throughput.samples_max);
  const showBytes = (id, name, field) => {
    const values = throughput[field];
    const time = duration(values.length * throughput.interval_ms);
    fill(element(id), {
      now: `${bytes(now(field))}/s`,
      aside: `peak ${bytes(Math.max(0, ...values))}/s in ${time}`,
    });
    chart(id, { name, values });
  };
  showBytes("bytes-in", "in", "produced_bytes");
  showBytes("bytes-out", "out", "fetched_bytes");
  const [records_in, records_out] = [now("produced_records"), now("fetched_records")];
  fill(element("records"), {
    now: `${count(records_in)}/s`,
    out: `out ${count(records_out)}/s`,
  });
  chart(
    "records",
    { name: "in", values: throughput.produced_records },
    { name: "out", values: throughput.fetched_records },
  );
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

function showDisk({ disk }) {
  const used = disk.total_bytes - disk.available_bytes;
  const logs = Math.min(disk.log_bytes, used);
  const card = element("disk");
  fill(card, {
    free: `${bytes(disk.available_bytes)} free`,
    of: `of ${bytes(disk.total_bytes)} in ${disk.path}`,
    logs: `${bytes(disk.log_bytes)} logs`,
    others: `${bytes(used - logs)} other`,
  });
  card.querySelector("[data-field=of]").title = disk.path;
  card.classList.toggle("bad", disk.full);
  const share = (part) => `${(100 * part) / Math.max(1, disk.total_bytes)}%`;
  card.querySelector(".bar .logs").style.width = share(logs);
  card.querySelector(".bar .others").style.width = share(used - logs);
}

// --- Topics and groups -----------------------------------------------------------------------

/** Notes the counters of this look, and forgets them all when the broker was started anew. */
function look({ broker, topics }) {
  const last = looks.at(-1);
  if (last && broker.uptime_ms < last.uptime_ms) [looks, lines] = [[], new Map()];
  const traffic = new Map(topics.rows.map((topic) => [topic.name, topic.traffic]));
  looks = [...looks, { uptime_ms: broker.uptime_ms, traffic }].slice(-LOOKS_IN_RATE - 1);
}

/** What a topic's counters gained per second since the oldest look that knows the topic. */
function ratesOf({ name, traffic }) {
  const first = looks.find((look) => look.traffic.has(name));
  const seconds = (looks.at(-1).uptime_ms - first.uptime_ms) / 1000;
  const before = first.traffic.get(name);
  const gained = (field) => Math.max(0, traffic[field] - before[field]) / Math.max(1, seconds);
  return { in: gained("produced_bytes"), out: gained("fetched_bytes") };
}

function showTopics({ topics, partitions, broker }) {
  const section = element("topics");
  const server = serverFlag(broker);
  fill(section, { partitions: plural(partitions, "partition") });
  showTable(section, topics, {
    empty: "No topics yet",
    hint: "Create one and send it a record:",
    commands: `millstream topics create greetings --partitions 1${server}\necho hello | millstream produce greetings${server}`,
  });
  const known = lines;
  lines = new Map();
  keep(section.querySelector("tbody"), "topic", topics.rows, ({ name }) => name, (row, topic) => {
    const rates = ratesOf(topic);
    const line = [...(known.get(topic.name) ?? []), rates].slice(-LOOKS_IN_LINE);
    lines.set(topic.name, line);
    showTopic(row, topic, rates);
    const series = ["in", "out"].map((name) => ({ name, values: line.map((look) => look[name]) }));
    draw(row.querySelector("svg"), series, LOOKS_IN_LINE);
  });
}

function showTopic(row, topic, rates) {
  fill(row, {
    name: topic.name,
    durability: topic.durability,
    internal: topic.internal ? "internal" : "",
    cleanup: topic.cleanup_policy === "delete" ? "" : topic.cleanup_policy,
    offline: topic.offline_partitions > 0 ? `${topic.offline_partitions} offline` : "",
    partitions: count(topic.partitions),
    records: count(topic.records),
    end: count(topic.log_end),
    size: topic.size_bytes === null ? "…" : bytes(topic.size_bytes),
    in: rate(rates.in, bytes),
    out: rate(rates.out, bytes),
  });
}

function showGroups({ groups, coordinators_loading, topics, broker, now_ms }) {
  const section = element("groups");
  const topic = topics.rows.find(({ internal }) => !internal)?.name ?? "greetings";
  showTable(section, groups, {
    empty: "No consumer groups yet",
    hint: "Read a topic as a member of one:",
    commands: `millstream consume ${topic} --group readers${serverFlag(broker)}`,
  });
  fill(section, { loading: coordinators_loading > 0 ? "some are still being loaded" : "" });
  keep(section.querySelector("tbody"), "group", groups.rows, ({ id }) => id, (row, group) => {
    fill(row, {
      id: group.id,
      state: group.state,
      members: count(group.members),
      lag: group.lag === null ? "–" : count(group.lag),
      behind: behindText(group),
      rebalance: rebalanceText(group.rebalance, now_ms),
    });
    row.classList.toggle("behind", group.behind_ms > BEHIND_MS);
  });
}

function behindText({ behind_ms, behind_is_minimum }) {
  if (behind_ms === null) return "–";
  return behind_is_minimum ? `> ${duration(behind_ms)}` : duration(behind_ms);
}

function rebalanceText(rebalance, now_ms) {
  if (!rebalance) return "–";
  return `${rebalance.reason}, ${age(now_ms - rebalance.timestamp_ms)} ago`;
}

function serverFlag({ address }) {
  return address === DEFAULT_SERVER ? "" : ` --server ${address}`;
}

// --- Asking ----------------------------------------------------------------------------------

function show(overview) {
  document.body.dataset.loaded = "true";
  look(overview);
  showBroker(overview);
  showAlerts(alertsOf(overview));
  showThroughput(overview);
  showDisk(overview);
  showTopics(overview);
  showGroups(overview);
}

function showSilence() {
  showPhase(`no answer for ${duration(performance.now() - answeredAt)}`);
  document.body.dataset.phase = "silent";
  showAlerts([{
    level: "bad",
    what: "The broker does not answer",
    hint: "What you see is old. This page goes on asking.",
  }]);
}

async function ask() {
  const query = find.value === "" ? "" : `?find=${encodeURIComponent(find.value)}`;
  const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
  try {
    const answer = await fetch(`./api/v1/overview${query}`, { signal });
    answeredAt = performance.now();
    if (answer.ok) show(await answer.json());
    else showPhase(answer.status === 503 ? "starting" : "failing");
  } catch {
    showSilence();
  }
}

/** Resolves after the pause between two questions, at once when somebody types or comes back; never
    while nobody looks. */
function pause() {
  return new Promise((resolve) => {
    const over = new AbortController();
    const wake = () => {
      if (document.hidden) return;
      over.abort();
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(wake, POLL_MS);
    find.addEventListener("input", wake, { signal: over.signal });
    document.addEventListener("visibilitychange", wake, { signal: over.signal });
  });
}

for (;;) {
  await ask();
  await pause();
}
