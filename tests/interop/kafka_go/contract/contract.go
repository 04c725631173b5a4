// Package contract is the command line that all clients of this folder share; ../../README.md says what
// it is.
package contract

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
)

// SessionMs is how long a silent member stays in its group.
const SessionMs = 10_000

// Header is a pair of a name and a value, null as nil.
type Header struct {
	Name  string
	Value []byte
}

// MarshalJSON writes a pair.
func (h Header) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{h.Name, h.Value})
}

// UnmarshalJSON reads a pair.
func (h *Header) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&h.Name, &h.Value})
}

// Record is a record as it is sent, or printed once it is consumed.
type Record struct {
	Topic     string   `json:"topic"`
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []Header `json:"headers"`
	Timestamp int64    `json:"timestamp"`
}

// DeletedBefore is the first offset that the call delete-records leaves.
const DeletedBefore = 5

// Options are what a command was given; BatchBytes is 0 where batches may be as they are.
type Options struct {
	Server, Topic, Codec, Group, Protocol, Call string
	Topics                                      []string
	BatchBytes                                  int
	quota                                       *quota
}

// Call makes one call of an administrator and returns what is printed of its answer.
type Call func(Options) (string, error)

// Run runs one of the commands, and ends the process.
func Run(
	produce func(Options, []Record) error,
	consume func(context.Context, Options) error,
	calls map[string]Call,
) {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	var options Options
	flags.StringVar(&options.Server, "server", "", "")
	flags.StringVar(&options.Topic, "topic", "", "")
	flags.StringVar(&options.Codec, "codec", "", "")
	flags.IntVar(&options.BatchBytes, "batch-bytes", 0, "")
	flags.StringVar(&options.Group, "group", "", "")
	flags.StringVar(&options.Protocol, "protocol", "", "")
	flags.StringVar(&options.Call, "call", "", "")
	topics := flags.String("topics", "", "")
	count := flags.Int64("count", -1, "")
	if err := flags.Parse(os.Args[2:]); err != nil {
		fail(err)
	}
	options.Topics = strings.Split(*topics, ",")
	if os.Args[1] == "produce" {
		records, err := read(os.Stdin)
		if err == nil {
			err = produce(options, records)
		}
		fail(err)
	}
	if os.Args[1] == "admin" {
		answer, err := calls[options.Call](options)
		fmt.Print(answer)
		fail(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	options.quota = &quota{left: *count, done: cancel}
	if *count < 0 {
		options.quota.left = math.MaxInt64
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	fail(consume(ctx, options))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func read(input io.Reader) ([]Record, error) {
	var records []Record
	lines := bufio.NewScanner(input)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var record Record
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			return nil, err
		}
		records = append(records, record)
	}
	return records, lines.Err()
}

// Show prints records and counts them; the context of the command ends with the last that is wanted.
func (o Options) Show(records ...Record) error {
	o.quota.Lock()
	defer o.quota.Unlock()
	output := json.NewEncoder(os.Stdout)
	for _, record := range records {
		if record.Headers == nil {
			record.Headers = []Header{}
		}
		if err := output.Encode(record); err != nil {
			return err
		}
	}
	return nil
}

// Took counts records that were printed and committed.
func (o Options) Took(records int) {
	o.quota.Lock()
	defer o.quota.Unlock()
	o.quota.left -= int64(records)
	if o.quota.left <= 0 {
		o.quota.done()
	}
}

type quota struct {
	sync.Mutex
	left int64
	done func()
}
