// Asks the service through the AI SDK: with_ai_sdk.cjs BASE_URL PICTURES. Prints what it saw as JSON.

const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { createOpenAICompatible } = require("@ai-sdk/openai-compatible");
const { embedMany, generateText, streamText } = require("ai");

const [baseURL, pictures] = process.argv.slice(2);
const provider = createOpenAICompatible({ name: "blip-serve", baseURL, apiKey: "unused", includeUsage: true });
const about = (name, text) => ({
  role: "user",
  content: [{ type: "text", text }, { type: "image", image: readFileSync(join(pictures, name)) }],
});

async function conversation() {
  const answers = [];
  const messages = [];
  for (const message of [
    about("blue-square-green-star.png", "what colour is the square?"),
    { role: "user", content: "what colour is the star?" },
    about("red-circle.png", "what colour is the circle?"),
  ]) {
    messages.push(message);
    const answer = await generateText({ model: provider("demo-vqa"), messages, maxRetries: 0 });
    messages.push(...answer.response.messages);
    answers.push(answer.text);
  }
  return answers;
}

async function main() {
  const asked = {
    model: provider("demo-captioning:plain"),
    system: "Be brief.",
    messages: [about("red-circle.png", "Describe this image.")],
    maxRetries: 0,
  };
  const seen = { answers: await conversation(), caption: (await generateText(asked)).text, pieces: [] };
  for await (const piece of streamText(asked).textStream) seen.pieces.push(piece);
  const values = ["a large red circle", "a small pink star"];
  seen.sizes = (await embedMany({ model: provider.embeddingModel("demo"), values })).embeddings.map((v) => v.length);
  console.log(JSON.stringify(seen));
}

main();
