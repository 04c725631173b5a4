// KafkaJS under the command line of `../README.md`. It knows gzip itself, and snappy through a package of
// its authors; for lz4 and zstd there are packages with compiled binaries that know nothing of Kafka. What one
// call sends to a partition is one batch, however large. It sends no header without a value: such a value is
// empty.

const { parseArgs } = require("node:util");
const readline = require("node:readline");
const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require("kafkajs");
const lz4 = require("lz4-napi");
const zstd = require("@mongodb-js/zstd");

// KafkaJS asks for a codec when it needs one, and gives it records in an encoder.
const codecOf = (compress, decompress) => () => ({
  compress: (encoder) => compress(encoder.buffer),
  decompress: (buffer) => decompress(buffer),
});

CompressionCodecs[CompressionTypes.Snappy] = require("kafkajs-snappy");
CompressionCodecs[CompressionTypes.LZ4] = codecOf(lz4.compressFrame, lz4.decompressFrame);
CompressionCodecs[CompressionTypes.ZSTD] = codecOf(zstd.compress, zstd.decompress);

const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};
const SESSION_MS = 10_000;
const DELETED_BEFORE = "5";

const decoded = (text) => (text === null ? null : Buffer.from(text, "base64"));
const encoded = (data) => (data === null || data === undefined ? null : Buffer.from(data).toString("base64"));

// Pairs as the object that KafkaJS takes: a name that comes twice has an array of values.
function headersOf(pairs) {
  const headers = {};
  for (const [name, text] of pairs) {
    const value = decoded(text) ?? "";
    headers[name] = name in headers ? [headers[name], value].flat() : value;
  }
  return headers;
}

function pairsOf(headers) {
  return Object.entries(headers ?? {}).flatMap(([name, values]) =>
    [values].flat().map((value) => [name, encoded(value)]),
  );
}

async function produce(kafka, { topic, codec }) {
  const messages = [];
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const record = JSON.parse(line);
    messages.push({
      key: decoded(record.key),
      value: decoded(record.value),
      headers: headersOf(record.headers),
      timestamp: String(record.timestamp),
    });
  }
  const producer = kafka.producer({ idempotent: true });
  await producer.connect();
  await producer.send({ topic, messages, compression: CODECS[codec] });
  await producer.disconnect();
}

async function consume(kafka, { topics, group, count }) {
  const consumer = kafka.consumer({ groupId: group, sessionTimeout: SESSION_MS });
  let left = count === undefined ? Infinity : Number(count);
  let done;
  const finished = new Promise((resolve, reject) => {
    done = resolve;
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      if (!payload.restart) reject(payload.error);
    });
  });
  if (count === undefined) process.stdin.on("end", done).resume();
  await consumer.connect();
  await consumer.subscribe({ topics: topics.split(","), fromBeginning: true });
  await consumer.run({
    autoCommit: true,
    eachBatch: async ({ batch, resolveOffset, commitOffsetsIfNecessary, heartbeat }) => {
      for (const message of batch.messages) {
        const record = {
          topic: batch.topic,
          partition: batch.partition,
          offset: Number(message.offset),
          key: encoded(message.key),
          value: encoded(message.value),
          headers: pairsOf(message.headers),
          timestamp: Number(message.timestamp),
        };
        process.stdout.write(JSON.stringify(record) + "\n");
        resolveOffset(message.offset);
        left -= 1;
      }
      await heartbeat();
      await commitOffsetsIfNecessary();
      if (left <= 0) done();
    },
  });
  await finished;
  await consumer.disconnect();
}

async function deleteRecords(kafka, { topic }) {
  const admin = kafka.admin();
  await admin.connect();
  // Deletion looks for the leader in metadata that it does not load itself.
  await admin.fetchTopicOffsets(topic);
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: DELETED_BEFORE }] });
  const [{ low }] = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  console.log(low);
}

const COMMANDS = { produce, consume, admin: deleteRecords };

async function main() {
  const names = ["server", "topic", "codec", "batch-bytes", "topics", "group", "protocol", "count", "call"];
  const options = Object.fromEntries(names.map((name) => [name, { type: "string" }]));
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  const kafka = new Kafka({ brokers: [values.server], logLevel: logLevel.ERROR });
  await COMMANDS[positionals[0]](kafka, values);
}

main().then(
  // What was printed may still be on its way.
  () => process.stdout.write("", () => process.exit(0)),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
