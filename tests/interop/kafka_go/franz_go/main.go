// franz-go.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millstream.interop/kafka_go/contract"
)

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func produce(options contract.Options, records []contract.Record) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(options.Server),
		kgo.DefaultProduceTopic(options.Topic),
		kgo.ProducerBatchCompression(codecs[options.Codec]),
		kgo.ProducerLinger(50*time.Millisecond),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	sent := make([]*kgo.Record, len(records))
	for i, record := range records {
		sent[i] = &kgo.Record{
			Key: record.Key, Value: record.Value, Timestamp: time.UnixMilli(record.Timestamp),
		}
		for _, header := range record.Headers {
			sent[i].Headers = append(sent[i].Headers, kgo.RecordHeader{Key: header.Name, Value: header.Value})
		}
	}
	return client.ProduceSync(context.Background(), sent...).FirstErr()
}

func consume(ctx context.Context, options contract.Options) error {
	settings := []kgo.Opt{
		kgo.SeedBrokers(options.Server),
		kgo.ConsumeTopics(options.Topics...),
		kgo.ConsumerGroup(options.Group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(contract.SessionMs * time.Millisecond),
	}
	if options.Protocol == "consumer" {
		// How franz-go is asked for KIP-848.
		optIn := context.WithValue(context.Background(), "opt_in_kafka_next_gen_balancer_beta", true)
		settings = append(settings, kgo.WithContext(optIn))
	}
	client, err := kgo.NewClient(settings...)
	if err != nil {
		return err
	}
	defer client.Close()
	for ctx.Err() == nil {
		polled, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		fetches := client.PollFetches(polled)
		cancel()
		for _, failed := range fetches.Errors() {
			if failed.Err != context.DeadlineExceeded && failed.Err != context.Canceled {
				return failed.Err
			}
		}
		records := fetches.Records()
		for _, record := range records {
			if err := options.Show(shown(record)); err != nil {
				return err
			}
		}
		if err := client.CommitRecords(context.Background(), records...); err != nil {
			// A rebalance took its partitions: others read the records again.
			fmt.Fprintln(os.Stderr, "not committed:", err)
		}
		options.Took(len(records))
	}
	return nil
}

func shown(record *kgo.Record) contract.Record {
	shown := contract.Record{
		Topic: record.Topic, Partition: record.Partition, Offset: record.Offset,
		Key: record.Key, Value: record.Value, Timestamp: record.Timestamp.UnixMilli(),
	}
	for _, header := range record.Headers {
		shown.Headers = append(shown.Headers, contract.Header{Name: header.Key, Value: header.Value})
	}
	return shown
}

func main() {
	contract.Run(produce, consume)
}
