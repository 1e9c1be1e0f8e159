import { z } from 'zod';
import { CLOUD_ONLY, CONTRACT, type OperationContract, refusalOut, type SvixOperation, uid } from './contract.ts';
import { invalid, refusal, refusalOfBody, type SvixReply } from './refusals.ts';
import { checkSecret } from './rules.ts';

/** Query parameters as the description types them: of text, numbers, booleans and lists are made. */
export function readQuery(schema: z.ZodObject, search: URLSearchParams): Record<string, unknown> {
  const query: Record<string, unknown> = {};
  for (const [name, text] of search) {
    const property = z.looseObject(schema.shape).shape[name];
    if (property === undefined) continue;
    const readings = [
      text === '' ? undefined : Number(text),
      text === 'true' ? true : text === 'false' ? false : undefined,
      text,
      text.split(','),
    ];
    const fitting = readings.find((value) => value !== undefined && z.safeParse(property, value).success);
    if (fitting === undefined) throw refusalOfParameter(name);
    query[name] = fitting;
  }
  return query;
}

/** v1/utils/mod.rs: what cannot be read is 400, what breaks a rule is 422. */
function refusalOfParameter(name: string) {
  const msg = 'String must match the following pattern: [a-zA-Z0-9\\-_.].';
  if (name === 'event_types') return invalid(['query', '__all__'], msg);
  if (name === 'channel' || name === 'endpoint_id') return invalid(['query', name, '__all__'], msg);
  return refusal(400, 'generic_error', `Failed to deserialize query string: ${name}: invalid`);
}

/** A body as the description types it. Fields that the server does not know are dropped, as it does. */
export function readBody(operation: SvixOperation, text: string): unknown {
  const schema: z.ZodObject | null = CONTRACT[operation].body;
  if (schema === null) return null;
  const body = readJson(text);
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  // The server's rule of secrets is another than the pattern that it publishes.
  for (const { path } of parsed.error.issues) {
    const [field] = path;
    if (field === 'secret' || field === 'key') checkSecret(textIn(body, field), field);
  }
  throw refusalOfBody(parsed.error.issues, body, operation === 'endpoint.sendExample');
}

function textIn(body: unknown, field: string): string | null {
  const value: unknown = Object.entries(body ?? {}).find(([name]) => name === field)?.[1];
  return typeof value === 'string' ? value : null;
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid(['body', '', ''], 'expected value', 'value_error.jsondecode');
  }
}

export interface RawRequest {
  readonly operation: SvixOperation;
  readonly params: readonly string[];
  readonly search: URLSearchParams;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** What Svix's description does not have of a request: no server would tell us, for it reads over such things. */
export function breachesOfRequest({ operation, params, search, headers, text }: RawRequest): readonly string[] {
  const contract: OperationContract = CONTRACT[operation];
  const breaches: string[] = [];
  const cloudOnly = new Set(CLOUD_ONLY[operation] ?? []);
  for (const param of params) {
    if (!uid.safeParse(param).success) breaches.push(`path: ${JSON.stringify(param)} can be no id`);
  }
  for (const name of search.keys()) {
    if (!(name in contract.query.shape) && !cloudOnly.has(name)) breaches.push(`query: unknown parameter ${name}`);
  }
  try {
    readQuery(contract.query, search);
  } catch (error) {
    breaches.push(`query: ${error instanceof Error ? error.message : ''}`);
  }
  if (headers['idempotency-key'] === undefined && contract.method === 'POST') {
    breaches.push('header: no idempotency-key, which the SDK always sends');
  }
  if (contract.body === null) {
    if (text !== '') breaches.push('body: none is wanted');
    return breaches;
  }
  if (headers['content-type'] !== 'application/json') breaches.push('header: content-type is not application/json');
  const parsed = contract.body.strict().safeParse(without(JSON.parse(text), cloudOnly));
  for (const { path, message } of parsed.error?.issues ?? []) breaches.push(`body: ${path.join('.')}: ${message}`);
  return breaches;
}

function without(body: unknown, names: ReadonlySet<string>): unknown {
  if (typeof body !== 'object' || body === null) return body;
  return Object.fromEntries(Object.entries(body).filter(([name]) => !names.has(name)));
}

/** What the description does not have of one of the double's own answers, or what it lacks of it. */
export function breachesOfAnswer(operation: SvixOperation, { status, body }: SvixReply): readonly string[] {
  const contract: OperationContract = CONTRACT[operation];
  if (status >= 400) {
    return refusalOut.safeParse(body).success ? [] : [`refusal ${status}: ${JSON.stringify(body)}`];
  }
  if (!(status in contract.answers)) return operation === 'health.get' ? [] : [`answer: status ${status}`];
  const schema = contract.answers[status];
  if (!schema) return body === null ? [] : ['answer: there is none'];
  // As it goes over the line: dates are text.
  const sent: unknown = JSON.parse(JSON.stringify(body));
  const parsed = z.safeParse(schema, sent);
  return (parsed.error?.issues ?? []).map(({ path, message }) => `answer: ${path.join('.')}: ${message}`);
}
