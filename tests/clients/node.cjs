// Asks the service through the npm package: node.cjs BASE_URL IMAGE. Prints what it saw as JSON.

const OpenAI = require("openai");

const [baseURL, image] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0 });
const text = "a photo of";
const messages = [
  { role: "user", content: [{ type: "image_url", image_url: { url: image } }, { type: "text", text }] },
];
const input = [
  { role: "user", content: [{ type: "input_image", image_url: image }, { type: "input_text", text }] },
];

async function main() {
  const seen = {};
  const whole = await client.chat.completions.create({ model: "fake", messages, n: 2 });
  seen.chat = whole.choices.map((choice) => choice.message.content);

  seen.pieces = "";
  const options = { include_usage: true };
  for await (const chunk of await client.chat.completions.create({
    model: "fake", messages, stream: true, stream_options: options,
  })) {
    seen.pieces += chunk.choices[0]?.delta.content ?? "";
    seen.tokens = chunk.usage?.total_tokens;
  }
  seen.reader = await client.chat.completions.stream({ model: "fake", messages }).finalContent();

  seen.response = (await client.responses.create({ model: "fake", input })).output_text;
  seen.events = [];
  for await (const event of await client.responses.create({ model: "fake", input, stream: true })) {
    seen.events.push(event.type);
  }
  seen.final = (await client.responses.stream({ model: "fake", input }).finalResponse()).output_text;

  try {
    await client.chat.completions.create({ model: "fake", messages, n: 100 });
  } catch (error) {
    seen.error = [error instanceof OpenAI.BadRequestError, error.status, error.code, error.param];
  }
  seen.models = (await client.models.list()).data.map((model) => model.id);
  console.log(JSON.stringify(seen));
}

main();
