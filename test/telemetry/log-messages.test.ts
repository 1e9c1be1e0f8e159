import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parseAst } from 'vitest/node';

/** Every warning and error of the log says itself what helps, or stands in the runbook with what helps, in the words that the log has. */

const ROOT = join(import.meta.dirname, '..', '..');
const RUNBOOK = readFileSync(join(ROOT, 'docs', 'runbook.md'), 'utf8');
const LEVELS: ReadonlySet<string> = new Set(['warn', 'error', 'fatal']);
/** A command, a variable or a page that it names. */
const SAYS_WHAT_HELPS = /npx chokin|npm run|[A-Z]{2,}_[A-Z_]+|[A-Z]{4,}=|docs\//;

const files = ['src', 'jobs'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name)),
);

type Node = Readonly<Record<string, unknown>>;
const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null;
const nodesIn = (value: unknown): readonly Node[] => (Array.isArray(value) ? value.filter(isNode) : []);
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** The messages of a file, with `…` for what is put into them. */
function messagesOf(file: string, isMeant: (node: Node) => boolean): readonly string[] {
  const constants = new Map<string, unknown>();
  const calls: Node[] = [];
  const visit = (node: unknown): void => {
    if (!isNode(node)) return;
    const { type, id, init } = node;
    if (type === 'VariableDeclarator' && isNode(id)) constants.set(textOf(id.name), init);
    if (isMeant(node)) calls.push(node);
    for (const child of Object.values(node)) visit(child);
  };
  visit(parseAst(readFileSync(join(ROOT, file), 'utf8'), { lang: 'ts' }));
  return calls.flatMap((call) => nodesIn(call.arguments).flatMap((argument) => textsOf(argument, constants)));
}

/** `logger.warn(…)`, `this.#logger.error(…)`, `services.logger.error(…)` … */
function isOfLog({ type, callee }: Node): boolean {
  if (type !== 'CallExpression' || !isNode(callee) || !isNode(callee.property) || !isNode(callee.object)) return false;
  const owner = isNode(callee.object.property) ? callee.object.property : callee.object;
  return LEVELS.has(textOf(callee.property.name)) && textOf(owner.name) === 'logger';
}

function textsOf(node: unknown, constants: ReadonlyMap<string, unknown>): readonly string[] {
  if (!isNode(node)) return [];
  if (node.type === 'Literal') return [textOf(node.value)];
  if (node.type === 'TemplateLiteral')
    return [
      nodesIn(node.quasis)
        .map(({ value }) => (isNode(value) ? textOf(value.cooked) : ''))
        .join('…'),
    ];
  if (node.type === 'ConditionalExpression')
    return [...textsOf(node.consequent, constants), ...textsOf(node.alternate, constants)];
  return node.type === 'Identifier' ? textsOf(constants.get(textOf(node.name)), constants) : [];
}

const messages = files.flatMap((file) => messagesOf(file, isOfLog).map((message) => ({ file, message })));

it('the messages of the log are found', () => {
  expect(messages.length).toBeGreaterThan(50);
});

it('each warning and error says what helps, or the runbook does', () => {
  const silent = messages.filter(
    ({ message }) => !SAYS_WHAT_HELPS.test(message) && !RUNBOOK.includes(`\`${message}\``),
  );
  expect(silent).toEqual([]);
});

it('the runbook names no message that the log does not have', () => {
  const [, section = ''] = RUNBOOK.split('## What the log says');
  const named = [...section.matchAll(/^\| `(.+?)` \|/gm)].map(([, message]) => message);
  expect(named.length).toBeGreaterThan(0);
  expect(named.filter((name) => !messages.some(({ message }) => message === name))).toEqual([]);
});

/** Where errors are made that end a start or a command. */
const OF_STARTS = /^src\/(commands|config|db|runtime|main|web|merchants\/(default-merchant|source-store))/;
const SAYS_WHAT_TO_DO =
  /wants|Set |Run |run |Choose|Make |Give |Let |let |install|--help|npm |Run this again|DATA_DIR|log,/;
/** An advice that is put in at the end. */
const WITH_ADVICE = /… ?…?$/;
/** What `explain` adds a line to, what says that it was asked for, and what no person meets. */
const EXEMPT: ReadonlySet<string> = new Set([
  'timeout exceeded when trying to connect',
  'Stopped. The Postgres and its data are removed.',
  'no free port',
  'the transaction was rolled back at commit (the server said …)',
]);

it('each error that ends a start or a command says what to do', () => {
  const isError = ({ type, callee }: Node) => type === 'NewExpression' && isNode(callee) && callee.name === 'Error';
  const errors = files.filter((file) => OF_STARTS.test(file)).flatMap((file) => messagesOf(file, isError));
  expect(errors.length).toBeGreaterThan(20);
  expect(errors.filter((text) => !SAYS_WHAT_TO_DO.test(text) && !WITH_ADVICE.test(text) && !EXEMPT.has(text))).toEqual(
    [],
  );
});
