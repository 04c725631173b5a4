/* librdkafka as a load, its defaults but for what is said: produces, consumes, or both at once, for some
 * seconds, and prints what came of it as one line of JSON.
 *
 *   load BROKERS TOPIC KEY=VALUE...
 *
 *   partitions=N     of the topic
 *   bytes=N          of a record's value, at least 8
 *   seconds=N        how long
 *   produce=RATE     records per second on an open loop; 0 for as many as possible; not at all without
 *   linger-ms=N      of the producer
 *   consume=start    all there is, again and again
 *   consume=end      what is produced meanwhile
 *
 * A value begins with the time at which it was due. Latencies count from there, to the acknowledgement and
 * to the consumer, also for records that were sent late because the queue was full, or because they were due
 * within SLEEP_NS_MIN of each other; those that never got through count with their age at the end.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#define NS_PER_S 1000000000ll
/* How long acknowledgements and records on their way are waited for at the end. */
#define DRAIN_S 30
#define CONSUMED_AT_ONCE 10000
/* How long a consumer waits for a record before it looks whether it is to end. */
#define POLL_MS 50
/* The shortest sleep between records that are due: setting a timer for each of 50,000 per second can take a
 * virtual machine most of a processor, as `perf record` of this program with a shorter one shows. */
#define SLEEP_NS_MIN 100000

static struct {
  const char *brokers, *topic, *linger_ms, *consume;
  int partitions, is_producer;
  size_t bytes;
  int64_t seconds, rate;
} options = {.linger_ms = "5", .partitions = 1, .bytes = 1024, .seconds = 5};

static void fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(2);
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* A histogram of microseconds with three significant digits, as HDR histograms are: exact below 2,048,
 * then 1,024 steps for each power of two. */
#define STEPS 1024
#define COUNTS (40 * STEPS)

typedef struct {
  uint64_t counts[COUNTS], total;
} histogram;

static histogram acknowledged_us, consumed_us;

static void record(histogram *into, int64_t ns) {
  uint64_t us = ns < 0 ? 0 : ns / 1000;
  uint64_t shift = us < 2 * STEPS ? 0 : 53 - __builtin_clzll(us);
  uint64_t at = shift * STEPS + (us >> shift);
  into->counts[at < COUNTS ? at : COUNTS - 1]++;
  into->total++;
}

/* Milliseconds that a share of all durations does not exceed. */
static double quantile_ms(const histogram *of, double share) {
  uint64_t rank = of->total * share, seen = 0;
  for (uint64_t at = 0; at < COUNTS; at++) {
    seen += of->counts[at];
    if (seen > rank || (seen == of->total && seen > 0)) {
      uint64_t shift = at < 2 * STEPS ? 0 : at / STEPS - 1;
      return (((at - shift * STEPS + 1) << shift) - 1) / 1000.0;
    }
  }
  return 0;
}

static void print_quantiles(const char *name, const histogram *of) {
  printf(",\"%s\":{\"p50\":%.3f,\"p99\":%.3f,\"p99.9\":%.3f,\"p99.99\":%.3f}", name,
         quantile_ms(of, 0.5), quantile_ms(of, 0.99), quantile_ms(of, 0.999),
         quantile_ms(of, 0.9999));
}

static void set(rd_kafka_conf_t *conf, const char *key, const char *value) {
  char why[512];
  if (rd_kafka_conf_set(conf, key, value, why, sizeof why) != RD_KAFKA_CONF_OK) fail(key, why);
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
  char why[512];
  set(conf, "bootstrap.servers", options.brokers);
  rd_kafka_t *made = rd_kafka_new(type, conf, why, sizeof why);
  if (!made) fail("client", why);
  return made;
}

/* The producer. */

static atomic_int is_acknowledging = 1;
static atomic_int_fast64_t acknowledged, consumed;
static int64_t sent, failed, last_acknowledged_ns;

static void on_delivery(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque) {
  (void)producer, (void)opaque;
  last_acknowledged_ns = now_ns();
  if (message->err) failed++;
  record(&acknowledged_us, last_acknowledged_ns - (int64_t)(intptr_t)message->_private);
  atomic_fetch_add(&acknowledged, 1);
}

static void *acknowledge(void *producer) {
  while (is_acknowledging) rd_kafka_poll(producer, 50);
  return NULL;
}

static void send_due(rd_kafka_topic_t *topic, char *value, int64_t due_ns) {
  memcpy(value, &due_ns, sizeof due_ns);
  int flags = RD_KAFKA_MSG_F_COPY | RD_KAFKA_MSG_F_BLOCK;
  if (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, flags, value, options.bytes, NULL, 0,
                       (void *)(intptr_t)due_ns))
    fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
  sent++;
}

static void sleep_until(int64_t ns) {
  struct timespec time = {ns / NS_PER_S, ns % NS_PER_S};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

static void send_paced(rd_kafka_topic_t *topic, char *value, int64_t started_ns) {
  int64_t records = options.rate * options.seconds, until_ns = started_ns + options.seconds * NS_PER_S;
  while (sent < records) {
    int64_t due_ns = started_ns + sent * NS_PER_S / options.rate, at_ns = now_ns();
    if (at_ns > until_ns + NS_PER_S) break;
    if (at_ns < due_ns) sleep_until(due_ns < at_ns + SLEEP_NS_MIN ? at_ns + SLEEP_NS_MIN : due_ns);
    send_due(topic, value, due_ns);
  }
  int64_t ended_ns = now_ns();
  for (int64_t unsent = sent; unsent < records; unsent++)
    record(&acknowledged_us, ended_ns - started_ns - unsent * NS_PER_S / options.rate);
}

/* Produces; returns how long that took, to the last acknowledgement. */
static double produce(void) {
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "linger.ms", options.linger_ms);
  rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, conf);
  rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, options.topic, NULL);
  const struct rd_kafka_metadata *metadata;
  rd_kafka_resp_err_t refused = rd_kafka_metadata(producer, 0, topic, &metadata, 10000);
  if (refused) fail("metadata", rd_kafka_err2str(refused));
  rd_kafka_metadata_destroy(metadata);
  char *value = malloc(options.bytes);
  for (size_t at = 0; at < options.bytes; at++) value[at] = rand();
  pthread_t acknowledging;
  pthread_create(&acknowledging, NULL, acknowledge, producer);

  int64_t started_ns = now_ns(), until_ns = started_ns + options.seconds * NS_PER_S;
  if (options.rate > 0) send_paced(topic, value, started_ns);
  else
    for (int64_t due_ns; (due_ns = now_ns()) < until_ns;) send_due(topic, value, due_ns);

  int64_t patience_ns = now_ns() + DRAIN_S * NS_PER_S;
  struct timespec pause = {0, 1000000};
  while (acknowledged < sent && now_ns() < patience_ns) nanosleep(&pause, NULL);
  is_acknowledging = 0;
  pthread_join(acknowledging, NULL);
  for (int64_t lost = acknowledged; lost < sent; lost++)
    record(&acknowledged_us, DRAIN_S * NS_PER_S);
  failed += sent - acknowledged;
  free(value);
  return (last_acknowledged_ns - started_ns) / 1e9;
}

/* The consumer. */

static atomic_int is_consuming = 1, is_at_end;
static int64_t first_consumed_ns, last_consumed_ns;

static void begin_again(rd_kafka_t *consumer, int partition) {
  rd_kafka_topic_partition_list_t *again = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(again, options.topic, partition)->offset = 0;
  /* Without a time to wait for it, it fails only for what is no partition. */
  rd_kafka_error_t *refused = rd_kafka_seek_partitions(consumer, again, 0);
  if (refused) fail("seek", rd_kafka_error_string(refused));
  rd_kafka_topic_partition_list_destroy(again);
}

static void take(rd_kafka_t *consumer, rd_kafka_message_t *message, int64_t taken_ns) {
  if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
    atomic_fetch_add(&is_at_end, 1);
    if (!strcmp(options.consume, "start") && is_consuming) begin_again(consumer, message->partition);
  } else if (message->err) {
    fail("consume", rd_kafka_message_errstr(message));
  } else {
    int64_t due_ns;
    memcpy(&due_ns, message->payload, sizeof due_ns);
    record(&consumed_us, taken_ns - due_ns);
    if (!first_consumed_ns) first_consumed_ns = taken_ns;
    last_consumed_ns = taken_ns;
    atomic_fetch_add(&consumed, 1);
  }
  rd_kafka_message_destroy(message);
}

/* What has come; on an open loop each record at once, as a batch waits until it is full or the time is up. */
static ssize_t next(rd_kafka_queue_t *queue, rd_kafka_message_t **messages) {
  if (options.rate == 0) return rd_kafka_consume_batch_queue(queue, POLL_MS, messages, CONSUMED_AT_ONCE);
  messages[0] = rd_kafka_consume_queue(queue, POLL_MS);
  return messages[0] ? 1 : 0;
}

static void *consume(void *unused) {
  (void)unused;
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "group.id", "load");
  set(conf, "enable.auto.commit", "false");
  set(conf, "enable.partition.eof", "true");
  rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, conf);
  rd_kafka_poll_set_consumer(consumer);
  rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(options.partitions);
  int64_t from = strcmp(options.consume, "start") ? RD_KAFKA_OFFSET_END : RD_KAFKA_OFFSET_BEGINNING;
  for (int at = 0; at < options.partitions; at++)
    rd_kafka_topic_partition_list_add(all, options.topic, at)->offset = from;
  rd_kafka_resp_err_t refused = rd_kafka_assign(consumer, all);
  if (refused) fail("assign", rd_kafka_err2str(refused));
  rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
  static rd_kafka_message_t *messages[CONSUMED_AT_ONCE];
  while (is_consuming) {
    ssize_t count = next(queue, messages);
    int64_t taken_ns = now_ns();
    for (ssize_t at = 0; at < count; at++) take(consumer, messages[at], taken_ns);
  }
  return NULL;
}

static void wait_for(atomic_int_fast64_t *what, int64_t count, int64_t seconds) {
  int64_t patience_ns = now_ns() + seconds * NS_PER_S;
  struct timespec pause = {0, 1000000};
  while (*what < count && now_ns() < patience_ns) nanosleep(&pause, NULL);
}

static void parse(const char *option) {
  const char *value = strchr(option, '=');
  if (!value) fail(option, "expected KEY=VALUE");
  size_t length = value++ - option;
#define IS(key) (length == strlen(key) && !strncmp(option, key, length))
  if (IS("partitions")) options.partitions = atoi(value);
  else if (IS("bytes")) options.bytes = atoll(value);
  else if (IS("seconds")) options.seconds = atoll(value);
  else if (IS("produce")) options.is_producer = 1, options.rate = atoll(value);
  else if (IS("linger-ms")) options.linger_ms = value;
  else if (IS("consume")) options.consume = value;
  else fail(option, "unknown key");
}

int main(int count, char **words) {
  if (count < 3) fail("usage", "load BROKERS TOPIC KEY=VALUE...");
  options.brokers = words[1], options.topic = words[2];
  for (int at = 3; at < count; at++) parse(words[at]);
  if (options.bytes < sizeof(int64_t)) fail("bytes", "expected at least 8");
  /* Sleeps end when they are due, not up to 50 us later. */
  prctl(PR_SET_TIMERSLACK, 1);

  pthread_t consuming;
  if (options.consume) {
    pthread_create(&consuming, NULL, consume, NULL);
    struct timespec pause = {0, 1000000};
    while (!strcmp(options.consume, "end") && is_at_end < options.partitions) nanosleep(&pause, NULL);
  }
  double produced_s = 0;
  if (options.is_producer) {
    produced_s = produce();
    if (options.consume) wait_for(&consumed, acknowledged - failed, DRAIN_S);
  } else if (options.consume) {
    wait_for(&consumed, 1, DRAIN_S);
    wait_for(&consumed, INT64_MAX, options.seconds);
  }
  if (options.consume) {
    is_consuming = 0;
    pthread_join(consuming, NULL);
  }

  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  double cpu_s = used.ru_utime.tv_sec + used.ru_stime.tv_sec +
                 (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
  printf("{\"sent\":%" PRId64 ",\"failed\":%" PRId64 ",\"produce_s\":%.6f,\"consumed\":%" PRIdFAST64
         ",\"consume_s\":%.6f,\"client_cpu_s\":%.3f",
         sent, failed, produced_s, (int_fast64_t)consumed,
         (last_consumed_ns - first_consumed_ns) / 1e9, cpu_s);
  print_quantiles("acknowledged_ms", &acknowledged_us);
  print_quantiles("consumed_ms", &consumed_us);
  printf("}\n");
  return 0;
}
