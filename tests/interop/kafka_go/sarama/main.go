// sarama.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/IBM/sarama"

	"millstream.interop/kafka_go/contract"
)

var codecs = map[string]sarama.CompressionCodec{
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

func settings() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V4_0_0_0
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Flush.Frequency = 50 * time.Millisecond
	config.Net.MaxOpenRequests = 1
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = 200 * time.Millisecond
	config.Consumer.Group.Session.Timeout = contract.SessionMs * time.Millisecond
	return config
}

func produce(options contract.Options, records []contract.Record) error {
	config := settings()
	config.Producer.Compression = codecs[options.Codec]
	if options.BatchBytes > 0 {
		// The last record has the batch sent.
		config.Producer.MaxMessageBytes = options.BatchBytes
		config.Producer.Flush.Messages = len(records)
		config.Producer.Flush.Frequency = 30 * time.Second
	}
	producer, err := sarama.NewSyncProducer([]string{options.Server}, config)
	if err != nil {
		return err
	}
	messages := make([]*sarama.ProducerMessage, len(records))
	for i, record := range records {
		messages[i] = &sarama.ProducerMessage{
			Topic: options.Topic, Timestamp: time.UnixMilli(record.Timestamp),
			Key: encoder(record.Key), Value: encoder(record.Value),
		}
		for _, header := range record.Headers {
			messages[i].Headers = append(messages[i].Headers,
				sarama.RecordHeader{Key: []byte(header.Name), Value: header.Value})
		}
	}
	if err := producer.SendMessages(messages); err != nil {
		return err
	}
	return producer.Close()
}

// encoder has null stay null: an Encoder that holds nil would send an empty value.
func encoder(data []byte) sarama.Encoder {
	if data == nil {
		return nil
	}
	return sarama.ByteEncoder(data)
}

func consume(ctx context.Context, options contract.Options) error {
	group, err := sarama.NewConsumerGroup([]string{options.Server}, options.Group, settings())
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		err := group.Consume(ctx, options.Topics, handler{options})
		if err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, "joins again:", err)
		}
	}
	return group.Close()
}

// handler prints the records of each claim.
type handler struct {
	options contract.Options
}

func (handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			if err := h.options.Show(shown(message)); err != nil {
				return err
			}
			session.MarkMessage(message, "")
			h.options.Took(1)
		case <-session.Context().Done():
			return nil
		}
	}
}

func shown(message *sarama.ConsumerMessage) contract.Record {
	shown := contract.Record{
		Topic: message.Topic, Partition: message.Partition, Offset: message.Offset,
		Key: message.Key, Value: message.Value, Timestamp: message.Timestamp.UnixMilli(),
	}
	for _, header := range message.Headers {
		shown.Headers = append(shown.Headers, contract.Header{Name: string(header.Key), Value: header.Value})
	}
	return shown
}

func deleteRecords(options contract.Options) (string, error) {
	admin, err := sarama.NewClusterAdmin([]string{options.Server}, settings())
	if err != nil {
		return "", err
	}
	before := map[int32]int64{0: contract.DeletedBefore}
	if err := admin.DeleteRecords(options.Topic, before); err != nil {
		return "", err
	}
	if err := admin.Close(); err != nil {
		return "", err
	}
	client, err := sarama.NewClient([]string{options.Server}, settings())
	if err != nil {
		return "", err
	}
	first, err := client.GetOffset(options.Topic, 0, sarama.OffsetOldest)
	if err != nil {
		return "", err
	}
	return fmt.Sprintln(first), client.Close()
}

func describeLogDirs(options contract.Options) (string, error) {
	admin, err := sarama.NewClusterAdmin([]string{options.Server}, settings())
	if err != nil {
		return "", err
	}
	brokers, _, err := admin.DescribeCluster()
	if err != nil {
		return "", err
	}
	broker := brokers[0].ID()
	directories, err := admin.DescribeLogDirs([]int32{broker})
	if err != nil {
		return "", err
	}
	for _, directory := range directories[broker] {
		for _, topic := range directory.Topics {
			if topic.Topic == options.Topic {
				return fmt.Sprintln(topic.Partitions[0].Size), admin.Close()
			}
		}
	}
	return "", errors.New("no directory has the topic")
}

var calls = map[string]contract.Call{
	"delete-records":    deleteRecords,
	"describe-log-dirs": describeLogDirs,
}

func main() {
	contract.Run(produce, consume, calls)
}
