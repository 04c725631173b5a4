// franz-go, and its package kadm.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

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
	linger := 50 * time.Millisecond
	settings := []kgo.Opt{
		kgo.SeedBrokers(options.Server),
		kgo.DefaultProduceTopic(options.Topic),
		kgo.ProducerBatchCompression(codecs[options.Codec]),
	}
	if options.BatchBytes > 0 {
		// All records are there at once, so that no more is needed.
		linger = time.Second
		settings = append(settings, kgo.ProducerBatchMaxBytes(int32(options.BatchBytes)))
	}
	client, err := kgo.NewClient(append(settings, kgo.ProducerLinger(linger))...)
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

// admin calls the broker as an administrator.
func admin(options contract.Options, call func(context.Context, *kadm.Client) (string, error)) (string, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(options.Server))
	if err != nil {
		return "", err
	}
	defer client.Close()
	return call(context.Background(), kadm.NewClient(client))
}

func describeProducers(options contract.Options) (string, error) {
	return admin(options, func(ctx context.Context, client *kadm.Client) (string, error) {
		topics, err := client.DescribeProducers(ctx, partition(options))
		if err != nil {
			return "", err
		}
		described := topics[options.Topic].Partitions[0]
		return fmt.Sprintln(len(described.ActiveProducers)), described.Err
	})
}

func deleteRecords(options contract.Options) (string, error) {
	return admin(options, func(ctx context.Context, client *kadm.Client) (string, error) {
		var before kadm.Offsets
		before.AddOffset(options.Topic, 0, contract.DeletedBefore, -1)
		topics, err := client.DeleteRecords(ctx, before)
		if err != nil {
			return "", err
		}
		deleted := topics[options.Topic][0]
		return fmt.Sprintln(deleted.LowWatermark), deleted.Err
	})
}

func describeLogDirs(options contract.Options) (string, error) {
	return admin(options, func(ctx context.Context, client *kadm.Client) (string, error) {
		brokers, err := client.DescribeAllLogDirs(ctx, partition(options))
		if err != nil {
			return "", err
		}
		for _, directories := range brokers {
			if found, exists := directories.LookupPartition(options.Topic, 0); exists {
				return fmt.Sprintln(found.Size), nil
			}
		}
		return "", errors.New("no directory has the partition")
	})
}

func partition(options contract.Options) kadm.TopicsSet {
	var set kadm.TopicsSet
	set.Add(options.Topic, 0)
	return set
}

func changePolicy(operation kadm.IncrementalOp, item string) contract.Call {
	return func(options contract.Options) (string, error) {
		return admin(options, func(ctx context.Context, client *kadm.Client) (string, error) {
			change := kadm.AlterConfig{Op: operation, Name: "cleanup.policy", Value: &item}
			changed, err := client.AlterTopicConfigs(ctx, []kadm.AlterConfig{change}, options.Topic)
			if err != nil {
				return "", err
			}
			return "", changed[0].Err
		})
	}
}

func listConfigResources(options contract.Options) (string, error) {
	return admin(options, func(ctx context.Context, client *kadm.Client) (string, error) {
		listed, err := client.ListConfigResources(ctx, kmsg.ConfigResourceTypeTopic)
		if err != nil {
			return "", err
		}
		var names strings.Builder
		for _, resource := range listed.Resources {
			fmt.Fprintln(&names, resource.Name)
		}
		return names.String(), listed.Err
	})
}

var calls = map[string]contract.Call{
	"describe-producers":    describeProducers,
	"delete-records":        deleteRecords,
	"describe-log-dirs":     describeLogDirs,
	"append-config":         changePolicy(kadm.AppendConfig, "compact"),
	"subtract-config":       changePolicy(kadm.SubtractConfig, "delete"),
	"list-config-resources": listConfigResources,
}

func main() {
	contract.Run(produce, consume, calls)
}
