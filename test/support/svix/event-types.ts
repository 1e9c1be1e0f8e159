import { notFound } from './refusals.ts';
import { checkControlCharacters } from './rules.ts';
import { pageOf, type StoredEventType } from './store.ts';
import type { Handlers, SvixWorld } from './world.ts';

/**
 * v1/endpoints/event_type.rs. The name in the path is not looked at: one with a space is stored, and no message and no
 * endpoint can have it. That the schemas are JSON schemas of draft 7, which the server checks, is not checked here.
 */
export function eventTypeHandlers(world: SvixWorld) {
  const { eventTypes } = world;
  return {
    'eventType.upsert': ({ params: [name = ''], body }) => {
      checkControlCharacters('description', body.description);
      const known = eventTypes.get(name);
      const now = new Date();
      const { description, archived = false, deprecated = false, schemas = null, featureFlag = null } = body;
      const made = { name, description, archived, deprecated, schemas, featureFlag };
      eventTypes.set(name, { ...made, createdAt: known?.createdAt ?? now, updatedAt: now });
      return { status: known === undefined ? 201 : 200, body: eventTypes.get(name) };
    },
    'eventType.get': ({ params: [name = ''] }) => {
      const found = eventTypes.get(name);
      if (found === undefined) throw notFound();
      return { status: 200, body: found };
    },
    'eventType.list': ({ query }) => {
      const { include_archived = false, with_content = false } = query;
      const listed = [...eventTypes.values()].filter(({ archived }) => include_archived || !archived);
      const by = {
        prefix: '',
        idOf: ({ name }: StoredEventType) => name,
        order: 'ascending' as const,
        show: (type: StoredEventType) => (with_content ? type : { ...type, schemas: null }),
        pageSize: world.pageSize,
      };
      // `order` is read and not used.
      return { status: 200, body: pageOf(listed, { limit: query.limit, iterator: query.iterator }, by) };
    },
  } satisfies Partial<Handlers>;
}

/** What endpoints can filter by. */
export function namesOf({ eventTypes }: SvixWorld): ReadonlySet<string> {
  return new Set([...eventTypes.values()].filter(({ archived }) => !archived).map(({ name }) => name));
}
