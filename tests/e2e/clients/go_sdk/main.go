// Evaluates flags with the official Go SDK: one JSON line with a config and users in, one with the results out.
// tests/support/official_sdks.py describes the lines.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	configcat "github.com/configcat/go-sdk/v9"
)

type request struct {
	Config json.RawMessage  `json:"config"`
	Users  []*attributeJSON `json:"users"`
}

type attributeJSON map[string]any

// attributes is a user as ConfigCat Proxy gives it to the SDK: strings, float64 and []string.
type attributes map[string]any

func (a attributes) GetAttribute(name string) any { return a[name] }

type answer struct {
	Results []map[string][]any `json:"results,omitempty"`
	Refused string             `json:"refused,omitempty"`
}

// body is the transport of a client that fetches nothing but one config.
type body []byte

func (b body) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     http.Header{},
		Body:       io.NopCloser(bytes.NewReader(b)),
		Request:    r,
	}, nil
}

func main() {
	lines := json.NewDecoder(bufio.NewReaderSize(os.Stdin, 1<<20))
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	write := json.NewEncoder(out)
	write.SetEscapeHTML(false)
	for {
		var r request
		if err := lines.Decode(&r); err == io.EOF {
			return
		} else if err != nil {
			panic(err)
		}
		if err := write.Encode(evaluate(r)); err != nil {
			panic(err)
		}
		out.Flush()
	}
}

func evaluate(r request) (found answer) {
	defer func() {
		if cause := recover(); cause != nil {
			found = answer{Refused: fmt.Sprint(cause)}
		}
	}()
	client := configcat.NewCustomClient(configcat.Config{
		SDKKey:      "configcat-proxy/differential",
		BaseURL:     "http://config.invalid",
		PollingMode: configcat.Manual,
		LogLevel:    configcat.LogLevelNone,
		Transport:   body(r.Config),
	})
	defer client.Close()
	if err := client.Refresh(context.Background()); err != nil {
		return answer{Refused: err.Error()}
	}
	for _, user := range r.Users {
		var snapshot *configcat.Snapshot
		if user == nil {
			snapshot = client.Snapshot(nil)
		} else {
			snapshot = client.Snapshot(typed(*user))
		}
		results := map[string][]any{}
		for _, key := range snapshot.GetAllKeys() {
			results[key] = result(snapshot.GetValueDetails(key))
		}
		found.Results = append(found.Results, results)
	}
	return found
}

func result(details configcat.EvaluationDetails) []any {
	if err := details.Data.Error; err != nil {
		return []any{nil, "", false, err.Error()}
	}
	matched := details.Data.MatchedTargetingRule != nil || details.Data.MatchedPercentageOption != nil
	return []any{details.Value, details.Data.VariationID, matched, nil}
}

func typed(user attributeJSON) attributes {
	found := attributes{}
	for name, value := range user {
		if list, ok := value.([]any); ok {
			texts := make([]string, len(list))
			for i, item := range list {
				texts[i] = item.(string)
			}
			value = texts
		}
		found[name] = value
	}
	return found
}
