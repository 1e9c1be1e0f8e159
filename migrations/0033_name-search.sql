-- Parts of names are found by their trigrams. pg_trgm is a trusted extension: the owner of a database may create it where the server has it.
-- Where it is not there, names are found by their beginning (src/customers/store.ts). The index is built after the migrations, while others
-- write (src/commands/build-indexes.ts).
do $$
begin
  if not exists (select from pg_extension where extname = 'pg_trgm') then
    create extension pg_trgm;
  end if;
exception when insufficient_privilege or feature_not_supported or undefined_file then
  raise notice 'customers are found by the beginning of their names only: %', sqlerrm;
end $$;
