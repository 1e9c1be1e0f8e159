import { readFileSync } from 'node:fs';
import { type Response, Router } from 'express';
import helmet from 'helmet';
import { send } from '../kit/send.ts';

const LINKS = [
  { name: 'api', href: '/docs', text: 'The API, to be read and tried out' },
  { name: 'openapi', href: '/openapi.json', text: 'The same as an OpenAPI document' },
  { name: 'documentation', href: '/readme', text: 'The documentation (README; its links lead into the checkout)' },
  { name: 'health', href: '/healthz', text: 'Whether the service lives' },
] as const;

const PAGE = `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Chokin</title>
  <link rel="icon" href="/docs/favicon-32x32.png">
</head>
<body>
  <h1>Chokin</h1>
  <p>Wallets for a merchant's customers. This is the service itself; it is used through its API.</p>
  <ul>
${LINKS.map(({ href, text }) => `    <li><a href="${href}">${text}</a></li>`).join('\n')}
  </ul>
</body>
</html>
`;

const INDEX = { name: 'Chokin', ...Object.fromEntries(LINKS.map(({ name, href }) => [name, href])) };

/** No script, no style, no frame: these pages are only words and links. */
const policy = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: { defaultSrc: ["'none'"], imgSrc: ["'self'"], baseUri: ["'none'"], frameAncestors: ["'none'"] },
  },
});

/**
 * What `/` answers: a page for browsers, which ask for HTML first, and the same links as JSON for everybody else. `/readme` is
 * the README of this release, as plain text, so that a browser shows it.
 */
export function homeRouter(): Router {
  const router = Router();
  router.get('/', policy, (request, response) => {
    response.setHeader('vary', 'accept');
    if (request.accepts(['json', 'html']) === 'html') return sendText(response, 'text/html', PAGE);
    return send(response, { status: 200, body: INDEX });
  });
  let readme: string | null = null;
  router.get('/readme', policy, (_request, response) => {
    readme ??= readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
    sendText(response, 'text/plain', readme);
  });
  return router;
}

function sendText(response: Response, type: string, body: string): void {
  send(response, { status: 200, body, headers: { 'content-type': `${type}; charset=utf-8` } });
}
