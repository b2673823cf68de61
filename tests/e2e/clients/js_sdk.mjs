// Evaluates flags with the official JavaScript SDK: one JSON line with a config and users in, one with the results out.
// tests/support/official_sdks.py describes the lines.
import { createInterface } from "node:readline";

import { ConfigCatConsoleLogger, LoggerWrapper, LogLevel } from "@configcat/sdk/lib/esm/ConfigCatLogger.js";
import { deserializeConfig } from "@configcat/sdk/lib/esm/ProjectConfig.js";
import { EvaluateContext, RolloutEvaluator } from "@configcat/sdk/lib/esm/RolloutEvaluator.js";
import { User } from "@configcat/sdk/lib/esm/User.js";

const evaluator = new RolloutEvaluator(new LoggerWrapper(new ConfigCatConsoleLogger(LogLevel.Off)));

function makeUser(attributes) {
  if (attributes === null) return undefined;
  const { Identifier, Email, Country, ...custom } = attributes;
  return new User(Identifier, Email, Country, custom);
}

function result(key, setting, user, settings) {
  try {
    const found = evaluator.evaluate(null, new EvaluateContext(key, setting, user, settings));
    const matched = Boolean(found.matchedTargetingRule ?? found.matchedPercentageOption);
    return [found.returnValue, found.selectedValue.i ?? "", matched, null];
  } catch (error) {
    return [null, "", false, String(error)];
  }
}

function evaluate(line) {
  const { config, users } = JSON.parse(line);
  let settings;
  try {
    settings = deserializeConfig(JSON.stringify(config)).f ?? {};
  } catch (error) {
    return { refused: String(error) };
  }
  const evaluateAll = (user) =>
    Object.fromEntries(Object.entries(settings).map(([key, setting]) => [key, result(key, setting, user, settings)]));
  return { results: users.map((attributes) => evaluateAll(makeUser(attributes))) };
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(evaluate(line)) + "\n");
}
