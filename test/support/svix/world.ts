import type { BodyOf, QueryOf, SvixOperation } from './contract.ts';
import type { SvixWorker } from './delivery.ts';
import { notFound, type SvixReply } from './refusals.ts';
import {
  findBy,
  type StoredApplication,
  type StoredEndpoint,
  type StoredEventType,
  type StoredMessage,
} from './store.ts';

/** All that the server has, of one organisation. */
export interface SvixWorld {
  /** By uid; those without one by id. */
  readonly applications: Map<string, StoredApplication>;
  readonly eventTypes: Map<string, StoredEventType>;
  readonly worker: SvixWorker;
  pageSize: number;
  /** See SvixServer. */
  givesMessages: boolean;
}

/** A request that fits the description. */
export interface Call<T extends SvixOperation> {
  /** The ids of the path, in order. */
  readonly params: readonly string[];
  readonly query: QueryOf<T>;
  readonly body: BodyOf<T>;
  readonly asksForMessages: boolean;
}

/** The fields of a change: each may be away. */
export type SomeOf<T> = { readonly [Field in keyof T]?: T[Field] | undefined };

export type Handlers = { readonly [T in SvixOperation]: (call: Call<T>) => SvixReply };

/** core/permissions.rs, `Application`: by id or uid, and 404 before the body is looked at. */
export function theApplication({ applications }: SvixWorld, [idOrUid = '']: readonly string[]): StoredApplication {
  const found = findBy(applications, idOrUid, ({ id }) => id === idOrUid);
  if (found === undefined) throw notFound();
  return found;
}

export function theEndpoint({ endpoints }: StoredApplication, idOrUid = ''): StoredEndpoint {
  const found = findBy(endpoints, idOrUid, ({ uid }) => uid === idOrUid);
  if (found === undefined) throw notFound();
  return found;
}

export function theMessage({ messages }: StoredApplication, idOrEventId = ''): StoredMessage {
  const found = findBy(messages, idOrEventId, ({ id }) => id === idOrEventId);
  if (found === undefined) throw notFound();
  return found;
}
