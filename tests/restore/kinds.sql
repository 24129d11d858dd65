create role "we""ird ro'le"; create role reader;
create schema "s.1 ""x"" $$ \"; create schema lib;

-- Functions that rows and definitions need, with bodies that are parsed, and some that only look so.
create function lib.twice(int) returns int language sql immutable return $1 * 2;
create function lib.shout(text) returns text language plpgsql immutable set search_path = pg_catalog as $f$ begin return upper($1); end $f$;
create function lib.many(a int, variadic b text[] default '{}', out c int, out d text) language sql as 'select a, b[1]';
create function lib.rows(n int default 3) returns table (i int, "t ""x""" text) language sql begin atomic select g, 'x'::text as text from generate_series(1, n) g; end;
create function lib.raise() returns event_trigger language plpgsql as $$ begin raise exception 'no'; end $$;
create procedure lib.work(inout x int) language plpgsql as $$ begin x := x + 1; commit; end $$;
create aggregate lib.longest (text) (sfunc = textcat, stype = text, initcond = '', parallel = safe);
create aggregate lib.middle (float8 order by anyelement)
  (sfunc = ordered_set_transition, stype = internal, finalfunc = percentile_disc_final, finalfunc_extra, finalfunc_modify = read_write);

-- Types.
create domain lib.even as int not null default 2 constraint is_even check (lib.twice(value) % 4 = 0);
create domain lib.evens as lib.even[] check (array_length(value, 1) < 5);
create type lib.pair as (a lib.even, b text collate "C");
create domain lib.ordered as lib.pair check ((value).a > 0);
create type lib.span as range (subtype = float8, subtype_diff = float8mi, multirange_type_name = lib.spans);
create type lib.feel as enum ('', 'it''s', 'a,b', E'new\nline');
alter type lib.feel add value 'first' before '';
create type lib.shell;
create function lib.shell_in(cstring) returns lib.shell language internal immutable strict as 'textin';
create function lib.shell_out(lib.shell) returns cstring language internal immutable strict as 'textout';
create type lib.shell (input = lib.shell_in, output = lib.shell_out, like = text);
create cast (lib.shell as text) without function as assignment;
create collation lib.folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create conversion lib.latin for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8;
create transform for int language sql (from sql with function prsd_lextype(internal), to sql with function int4recv(internal));
create access method heap_2 type table handler heap_tableam_handler;

-- Operators and what sorts by them.
create function lib.less(int, int) returns bool language sql immutable return $1 > $2;
create operator lib.<<< (leftarg = int, rightarg = int, function = lib.less, commutator = operator(lib.>>>), restrict = scalarltsel);
create operator lib.>>> (leftarg = int, rightarg = int, function = lib.less, commutator = operator(lib.<<<));
create function lib.order_back(int, int) returns int language sql immutable return btint4cmp($2, $1);
create operator family lib.back using btree;
create operator class lib.back_ops for type int using btree family lib.back as operator 1 >, operator 2 >=, operator 3 =, operator 4 <=, operator 5 <,
  function 1 lib.order_back(int, int);

-- Text search.
create text search dictionary lib.plain (template = simple, stopwords = english, accept = false);
create text search template lib.simple (init = dsimple_init, lexize = dsimple_lexize);
create text search parser lib.words (start = prsd_start, gettoken = prsd_nexttoken, end = prsd_end, lextypes = prsd_lextype);
create text search configuration lib.search (parser = lib.words);
alter text search configuration lib.search add mapping for asciiword with lib.plain, simple;

-- Tables: computed, typed, inherited, wide, empty of columns.
create table "T.1 'q' $1 😀
\." (id int generated always as identity (start 5 increment -2 minvalue -100 maxvalue 9 cycle cache 3) primary key,
  "col.umn ""q"" 'a' \n $$" text default 'a\b''c', doubled int generated always as (lib.twice("n.n")) stored, "n.n" int,
  loud text generated always as (lib.shout("col.umn ""q"" 'a' \n $$")) stored, e lib.even, es lib.evens, o lib.ordered, f lib.feel, s lib.span,
  ss lib.spans, sh lib.shell, folded text collate lib.folded, tsv tsvector generated always as (to_tsvector('simple', coalesce("col.umn ""q"" 'a' \n $$", ''))) stored,
  exclude using gist (s with &&) deferrable initially deferred, constraint "chk ""1"".😀" check ("n.n" <> 13) no inherit);
insert into "T.1 'q' $1 😀
\." ("col.umn ""q"" 'a' \n $$", "n.n", e, es, o, f, s, ss, sh, folded) values
  (E'tab\t nl\n cr\r crlf\r\n \\. \\N \b\f\v', 1, 4, '{2,4}', '(2,b)', E'new\nline', '[1,2)', '{[1,2),[3,4)}', 'shell', 'A'),
  ('\.', null, 2, null, null, '', '[5,inf]', '{}', '', 'b'), ('', 3, 6, '{}', '(4,)', 'first', 'empty', null, null, null);
create index "idx ""1"".😀" on "T.1 'q' $1 😀
\." using btree ("n.n" lib.back_ops desc nulls last, lower("col.umn ""q"" 'a' \n $$") collate "C") include (e) where "n.n" > 0;
create unique index nulls_once on "T.1 'q' $1 😀
\." (folded) nulls not distinct with (fillfactor = 70);
create index on "T.1 'q' $1 😀
\." using gin (tsv); create index on "T.1 'q' $1 😀
\." using brin ("n.n"); create index on "T.1 'q' $1 😀
\." using hash (f);
create statistics "s.1 ""x"" $$ \"."st.1" (ndistinct, mcv) on "n.n", e, (lib.twice("n.n")) from "T.1 'q' $1 😀
\.";
create type lib.row as (a int, b text);
create table typed of lib.row (a primary key, b with options default 'typed' not null); insert into typed values (1);
create table none (); insert into none default values; insert into none default values;
create table base (a int default 1 check (a < 100), gone int, b text not null, constraint only_base check (a <> 50) no inherit); alter table base drop column gone;
create table mixin (m int default 7, b text);
create table kid (a int default 2, c text default 'kid' check (c <> ''), unique (a)) inherits (base, mixin);
alter table kid alter b set default 'kid'; alter table kid alter m drop default;
insert into base (b) values ('base'); insert into kid (m) values (9);
create unlogged table light (x int) with (autovacuum_enabled = off); insert into light values (1);
create table options (a text compression pglz, b text, c int) using heap_2
  with (fillfactor = 50, toast_tuple_target = 256, toast.autovacuum_enabled = off, parallel_workers = 3);
alter table options alter a set storage external, alter b set storage main, alter a set statistics 300, alter a set (n_distinct = -0.5), replica identity full; insert into options values (repeat('long ', 5000), 'b', 1);
create table odd (id int primary key using index tablespace pg_default, f float8, n numeric, d date, t timestamptz, i interval, b bytea, j json, x xml, p point, a int[][],
  z lib.pair[], bits bit varying(9), m money, ip inet, u uuid, r regclass, c "char", nm name, l lib.feel[]) with (user_catalog_table = true);
insert into odd values (1, 'nan', 'nan', '-infinity', '4713-01-01 BC', '-1 mon +2 days -03:04:05', '\x00ff5c', '{"a": "\u0041 \\ \" ü"}', '<a>ü</a>', '(1e300,-0)',
  '[2:3][-1:0]={{1,2},{3,null}}', array[row(2, '"')::lib.pair, null], '101', '12.34', '::1/64', '00000000-0000-0000-0000-000000000001', 'pg_class', '\', 'n', '{"a,b",""}'),
  (2, '-inf', 1e-300, 'infinity', '9999-12-31 23:59:59.999999', 'P1Y', '', '[]', 'text <b/>', '(0,0)', '{}', '{}', '', '-0.01', '10.0.0.0/8', null, null, '', '', '{}');
create index on odd (id) with (fillfactor = 90); alter table odd cluster on odd_pkey;

-- Partitions: keys to and from them, at odd levels, with columns in another order.
create table region (id int primary key, r text); insert into region values (1, 'one'), (2, 'two');
create table sale (id int, day date, region int references region on delete set null on update cascade, note text default 'parent', primary key (id, day)) partition by range (day);
create table sale_1 (note text default 'part', gone int, day date not null, id int not null, region int); alter table sale_1 drop column gone;
alter table sale attach partition sale_1 for values from (minvalue) to ('2026-01-01');
create table "s.1 ""x"" $$ \"."sale.2" partition of sale (constraint small check (id < 1000)) for values from ('2026-01-01') to (maxvalue) partition by range (id);
create table sale_2a partition of "s.1 ""x"" $$ \"."sale.2" for values from (1) to (10); create table sale_2b partition of "s.1 ""x"" $$ \"."sale.2" default;
create table item (id int, sale int, day date, foreign key (sale, day) references sale deferrable initially deferred, primary key (id)) partition by hash (id);
create table item_0 partition of item for values with (modulus 2, remainder 0); create table item_1 partition of item for values with (modulus 2, remainder 1);
create index on only sale (note); create index sale_1_note on sale_1 (note); alter index sale_note_idx attach partition sale_1_note; create index sale_lower on sale (lower(note));
insert into sale select i, '2025-12-25'::date + i, 1 + i % 2 from generate_series(1, 20) i; insert into item select i, i, '2025-12-25'::date + i from generate_series(1, 20) i;
create table tree (id int primary key, up int references tree deferrable, self int unique references tree (self)); insert into tree values (1, 1, 1), (2, 1, null);
alter table tree add constraint unsure foreign key (up) references region not valid;
create table ring_a (id int primary key, b int); create table ring_b (id int primary key, a int references ring_a);
alter table ring_a add foreign key (b) references ring_b deferrable initially deferred; begin; insert into ring_a values (1, 1); insert into ring_b values (1, 1); commit;

-- Views, and what needs what in a circle.
create view by_key as select r.*, count(*) as n from region r join sale s on s.region = r.id group by r.id;
create function lib.of_view(by_key) returns text language sql stable return $1.r;
create view over with (security_invoker, check_option = local) as select id, r from region where id < 10;
create recursive view "up.1" (id, depth) as select id, 1 from tree where up = id union all select t.id, depth + 1 from tree t join "up.1" u on u.id = t.up and t.id <> t.up;
create materialized view "m.1" with (fillfactor = 80) as select r.id, lib.of_view(b) as r from region r join by_key b using (id);
create materialized view "a.2" as select count(*) as n from "m.1"; create unique index on "a.2" (n); create view "m.3" as select n from "a.2";
create materialized view unfilled as select * from "a.2" with no data; create materialized view "0.4" as select n from "m.3" union all select 1;
create function lib.counted() returns bigint language sql stable return (select n from "m.3");
create sequence lib.small as smallint start -5 minvalue -10 maxvalue 100 increment 5 no cycle cache 7; select nextval('lib.small'); create sequence lib.fresh;
create table counted (n bigint default lib.counted(), s smallint default nextval('lib.small')); insert into counted default values;
create sequence owned owned by counted.n;

-- Rules, triggers, policies, rights.
create rule "r.1" as on update to over do instead update region set r = new.r || E'\\' where id = old.id;
create rule no as on insert to none do also notify "n.1", 'x'; alter table none disable rule no;
create function lib.touch() returns trigger language plpgsql as $$ begin if tg_op = 'INSERT' then new.note := new.note || '!'; end if; return new; end $$;
create trigger "t.1 ""x""" before insert or update of note on sale for each row when (new.id > 0) execute function lib.touch('arg ''1''', E'\\');
create constraint trigger later after insert on region from tree deferrable initially deferred for each row execute function lib.touch();
create trigger seen after update on region referencing old table as o new table as n for each statement execute function lib.touch();
create trigger off before insert on base for each row execute function lib.touch(); alter table base disable trigger off;
create trigger always before insert on tree for each row execute function lib.touch(); alter table tree enable always trigger always;
alter table sale_2a disable trigger "t.1 ""x""";
create view written as select id, r from region; create trigger instead instead of insert on written for each row execute function lib.touch();
alter table region enable row level security; alter table region force row level security;
create policy "p.1" on region as restrictive for update to reader, "we""ird ro'le" using (id in (select id from tree)) with check (r <> E'\\');
alter table typed owner to reader; alter view over owner to "we""ird ro'le"; alter schema lib owner to reader; alter type lib.feel owner to "we""ird ro'le";
grant select (id), update (r) on region to "we""ird ro'le" with grant option; grant all on schema "s.1 ""x"" $$ \" to reader; grant usage on type lib.feel to reader;
revoke all on function lib.twice(int) from public; grant execute on function lib.twice(int) to reader; grant select, usage on sequence lib.small to reader;
alter default privileges for role "we""ird ro'le" in schema lib grant all on tables to reader with grant option; alter default privileges revoke execute on functions from public;

-- What lies elsewhere.
create extension file_fdw; create extension postgres_fdw; create foreign data wrapper own options (a 'b'); grant usage on foreign data wrapper own to reader;
create server "srv.1" type 't' version '1' foreign data wrapper postgres_fdw options (host '127.0.0.1', dbname 'nowhere ''x'''); grant usage on foreign server "srv.1" to reader;
create user mapping for public server "srv.1" options (user 'u', password 'p '' \'); create server files foreign data wrapper file_fdw;
create foreign table far (id int options (column_name 'i d') not null, v text default 'x', check (id > 0)) server "srv.1" options (table_name 'T');
create table mixed (id int, v text) partition by list (id); create table near_part partition of mixed for values in (2); insert into mixed values (2, 'near');
create foreign table far_part partition of mixed for values in (1) server "srv.1";

-- What others get to see of it, and what lies beside it.
create publication "p.1" for table region (id, r) where (id > 0), sale with (publish = 'insert, truncate', publish_via_partition_root);
create publication lib for tables in schema lib, table tree where (id <> 13);
select lo_from_bytea(4711, '\x00ff5c2e0a'), lo_from_bytea(4712, ''), lo_from_bytea(4713, convert_to(repeat('large ', 500000), 'UTF8'));
alter large object 4712 owner to reader; grant select on large object 4711 to "we""ird ro'le" with grant option;

-- A word on everything, and the word is a trap.
do $do$
declare said text := E'it''s \\ "x" $$ -- /* \n\\.\nDROP TABLE region; 😀'; what text;
begin
  foreach what in array array['schema lib', 'function lib.twice(int)', 'procedure lib.work(int)', 'aggregate lib.longest(text)', 'domain lib.even',
    'constraint is_even on domain lib.even', 'type lib.pair', 'column lib.pair.b', 'cast (lib.shell as text)', 'collation lib.folded', 'conversion lib.latin',
    'transform for int language sql', 'access method heap_2', 'operator lib.<<< (int, int)', 'operator family lib.back using btree',
    'operator class lib.back_ops using btree', 'text search dictionary lib.plain', 'text search parser lib.words', 'text search configuration lib.search',
    'text search template lib.simple', 'table region', 'column region.r', 'index sale_1_note', 'constraint unsure on tree', 'view over', 'column over.r',
    'materialized view "m.1"', 'sequence lib.small', 'rule "r.1" on over', 'trigger later on region', 'policy "p.1" on region', 'statistics "s.1 ""x"" $$ \"."st.1"',
    'foreign data wrapper own', 'server "srv.1"', 'foreign table far', 'column far.v', 'publication "p.1"', 'large object 4711'] loop
    execute format('comment on %s is %L', what, said);
  end loop;
end $do$;

-- As wide as a table can be.
do $$ begin
  execute 'create table wide (' || (select string_agg(format('%I int2', 'c.' || i || ' "'), ', ' order by i) from generate_series(1, 1600) i) || ')';
  execute 'insert into wide values (' || (select string_agg(i::text, ', ' order by i) from generate_series(1, 1600) i) || ')';
end $$;
insert into wide default values;

-- Last, as nothing can be made beside them.
create event trigger "e.1" on ddl_command_start when tag in ('CREATE VIEW', 'DROP TABLE') execute function lib.raise(); alter event trigger "e.1" enable always;
create event trigger off on sql_drop execute function lib.raise(); alter event trigger off disable;
