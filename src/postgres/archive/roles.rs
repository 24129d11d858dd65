//! The roles that a dump's statements name, as `pg_dump` writes them: whoever restores it wants them there.

use std::collections::BTreeSet;
use std::io::BufRead;

use super::script::{Script, Statement};
use crate::error::Result;
use crate::postgres::quote::unquoted;

/// What the statements begin with that name roles.
const NAMING: &[&[u8]] = &[b"ALTER ", b"CREATE POLICY ", b"GRANT ", b"REVOKE "];

/// The roles in a script, which is read to its end.
pub fn of_script(script: impl BufRead) -> Result<BTreeSet<String>> {
    let (mut script, mut found) = (Script::telling(script, NAMING), BTreeSet::new());
    while let Some(next) = script.next_statement()? {
        match next {
            Statement::Copy(_) => {}
            Statement::Told(policy) if policy.starts_with("CREATE POLICY ") => found.extend(concerned(&policy)),
            Statement::Told(change) if change.starts_with("ALTER ") && !change.starts_with("ALTER DEFAULT PRIVILEGES ") => {
                found.extend(change.rfind(" OWNER TO ").and_then(|at| named(&change[at + " OWNER TO ".len()..])));
            }
            Statement::Told(grant) => {
                found.extend(giver(&grant));
                found.extend(grantees(&grant));
            }
        }
    }
    // What can't be read of a name can't be looked for.
    found.retain(|name| !name.is_empty() && !name.contains(char::REPLACEMENT_CHARACTER));
    Ok(found)
}

/// Whose default privileges are altered: `ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA public GRANT …`.
fn giver(grant: &str) -> Option<String> {
    let rest = grant.strip_prefix("ALTER DEFAULT PRIVILEGES FOR ROLE ")?;
    let end = [" IN SCHEMA ", " GRANT ", " REVOKE "].iter().filter_map(|word| rest.find(word)).min()?;
    named(&rest[..end])
}

/// The name that a text consists of.
fn named(text: &str) -> Option<String> {
    unquoted(text).filter(|(_, rest)| rest.is_empty()).map(|(name, _)| name)
}

/// The roles in GRANT and REVOKE statements as `pg_dump` writes them.
#[must_use]
pub fn grantees(defn: &str) -> Vec<String> {
    let mut found = Vec::new();
    for statement in defn.split(";\n") {
        let words = statement.trim_end().trim_end_matches(';').trim_end_matches(" WITH GRANT OPTION");
        // The last one of them: names before it stand in quotes, and a role's own can't hold what would look like another.
        let after = [" TO ", " FROM "].iter().filter_map(|word| words.rfind(word).map(|at| at + word.len())).max();
        let Some(name) = after.and_then(|at| words.get(at..)) else { continue };
        found.extend(named(name).filter(|_| name != "PUBLIC"));
    }
    found
}

/// The roles in a CREATE POLICY statement as `pg_dump` writes it: `… TO app, "x y" USING (…) WITH CHECK (…);`
#[must_use]
pub fn concerned(defn: &str) -> Vec<String> {
    let end = [" USING (", " WITH CHECK (", ";\n"].iter().filter_map(|word| defn.find(word)).min().unwrap_or(defn.len());
    let Some(at) = defn[..end].rfind(" TO ") else { return Vec::new() };
    let mut found = vec![String::new()];
    let mut is_quoted = false;
    for letter in defn[at + 4..end].chars() {
        is_quoted ^= letter == '"';
        match letter {
            ',' if !is_quoted => found.push(String::new()),
            ' ' if !is_quoted => {}
            letter => found.iter_mut().last().into_iter().for_each(|name| name.push(letter)),
        }
    }
    let plain = |name: String| named(&name).unwrap_or(name);
    found.into_iter().map(plain).filter(|name| name != "PUBLIC" && !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::{concerned, grantees, of_script};

    #[test]
    fn roles_are_found_in_a_script_and_not_in_its_rows_or_strings() {
        let script = concat!(
            "SET x = 1;\nCREATE TABLE public.t (\n    a text\n);\nALTER TABLE public.t OWNER TO \"own er\";\n",
            "CREATE FUNCTION public.f() RETURNS text\n    LANGUAGE sql\n    AS $$ select 'GRANT a TO nobody' $$;\n",
            "ALTER FUNCTION public.f() OWNER TO maker;\nALTER TABLE ONLY public.t ALTER COLUMN a SET DEFAULT 'x OWNER TO y'::text;\n",
            "COPY public.t (a) FROM stdin;\nGRANT SELECT ON TABLE t TO row;\n\\.\n\n",
            "CREATE POLICY p ON public.t TO bound, \"b\"\"2\" USING (true);\n",
            "GRANT SELECT ON TABLE public.t TO reader WITH GRANT OPTION;\nREVOKE ALL ON TABLE public.t FROM taken;\n",
            "GRANT SELECT ON TABLE public.t TO PUBLIC;\n",
            "ALTER DEFAULT PRIVILEGES FOR ROLE giver IN SCHEMA public GRANT SELECT ON TABLES  TO given;\n"
        );
        let found: Vec<String> = of_script(script.as_bytes()).unwrap().into_iter().collect();
        assert_eq!(found, ["b\"2", "bound", "given", "giver", "maker", "own er", "reader", "taken"]);
    }

    #[test]
    fn roles_are_found_in_policies() {
        let defn = "CREATE POLICY \"a TO b\" ON app.t AS RESTRICTIVE FOR SELECT TO app, \"x, \"\"y\" USING ((who = 'm TO n'::text));\n";
        assert_eq!(concerned(defn), ["app", "x, \"y"]);
        assert!(concerned("CREATE POLICY mine ON app.t USING (true);\n").is_empty());
        assert_eq!(concerned("CREATE POLICY mine ON app.t FOR INSERT TO writer WITH CHECK (true);\n"), ["writer"]);
    }

    #[test]
    fn roles_are_found_in_what_pg_dump_writes() {
        let defn = "REVOKE ALL ON TABLE public.t FROM owner;\nGRANT SELECT ON TABLE public.t TO reader;\n\
                    GRANT ALL ON TABLE public.\" TO x\" TO \"we\"\"ird role\" WITH GRANT OPTION;\nGRANT USAGE ON SCHEMA s TO PUBLIC;\n";
        assert_eq!(grantees(defn), ["owner", "reader", "we\"ird role"]);
    }
}
