//! Which rule is proved where: reads the lists of rules beside this crate and the sources of all tests, and makes the table RULES.md.
//!
//! A rule is proved by a test that cites its number, in its name or inside it. A citation anywhere else (a helper, production code, a
//! file's first lines) explains something and proves nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

/// The lists of rules that must be complete; their families.
const LISTS: [(&str, &str, &str); 2] = [
    ("Jobs", "jobs.txt", include_str!("../rules/jobs.txt")),
    ("CronJobs", "cronjobs.txt", include_str!("../rules/cronjobs.txt")),
];
/// Families whose numbers are cited and listed nowhere here: promises and faults, the wire, Docker.
const UNLISTED: [(char, &str); 4] = [('R', "Promises"), ('F', "Faults"), ('W', "The wire"), ('D', "Docker")];
/// Where tests are.
const FOLDERS: [&str; 4] = ["api/src", "daemon/src", "tests/src", END_TO_END];
/// Where those are that run the whole daemon.
const END_TO_END: &str = "tests/tests";

/// A rule's number: its family and the number in it. `T` is a decision table of the jobs' rules.
pub type Number = (char, u16);

/// A rule as the list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub number: Number,
    pub statement: String,
}

/// A section of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    pub number: u16,
    pub title: String,
    pub rules: Vec<Rule>,
    /// What is told and not proved.
    pub notes: Vec<String>,
}

impl Section {
    /// Decisions taken where the baseline has defects or versions differ: nothing has to prove them.
    #[must_use]
    pub fn is_decisions(&self) -> bool {
        self.title.ends_with("decisions taken")
    }
}

/// A list of rules.
#[derive(Clone, Debug)]
pub struct List {
    pub title: &'static str,
    pub sections: Vec<Section>,
}

/// A test function and what it cites.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    /// Relative to the repository.
    pub file: String,
    pub name: String,
}

/// All that the table is made of.
#[derive(Debug)]
pub struct Rules {
    pub lists: Vec<List>,
    pub tests: BTreeMap<Number, BTreeSet<Test>>,
    /// End-to-end tests that cite all listed rules from one to another. Such a test walks through many rules and asserts few.
    pub sweeping: BTreeSet<Test>,
}

impl Rules {
    /// Reads the repository.
    ///
    /// # Errors
    /// When a file cannot be read, or a list has a line that is none.
    pub fn read(root: &Path) -> io::Result<Self> {
        let lists = LISTS
            .iter()
            .map(|(title, name, text)| {
                let sections = parse_list(text).map_err(|line| io::Error::other(format!("{name}: {line}")))?;
                Ok(List { title, sections })
            })
            .collect::<io::Result<Vec<_>>>()?;
        let listed: BTreeSet<char> =
            lists.iter().flat_map(|list| numbers(&list.sections)).map(|(family, _)| family).collect();
        let mut tests: BTreeMap<Number, BTreeSet<Test>> = BTreeMap::new();
        let mut sweeping = BTreeSet::new();
        // Not this file: its own tests are about examples.
        for (file, text) in sources(root)?.into_iter().filter(|(file, _)| file != "tests/src/rules.rs") {
            for (name, body) in find_tests(&text) {
                let test = Test { file: file.clone(), name: name.clone() };
                for cited in citations(&name, &body) {
                    if cited.last.is_some() && listed.contains(&cited.number.0) && file.starts_with(END_TO_END) {
                        sweeping.insert(test.clone());
                    }
                    for number in expand(cited, &lists) {
                        tests.entry(number).or_default().insert(test.clone());
                    }
                }
            }
        }
        Ok(Self { lists, tests, sweeping })
    }

    /// Rules that must be proved and are not: all of them but metrics and decisions taken.
    #[must_use]
    pub fn unproved(&self) -> Vec<Number> {
        let must = |section: &&Section| !section.is_decisions() && section.title != "Metrics";
        let sections = self.lists.iter().flat_map(|list| &list.sections).filter(must);
        let numbers = sections.flat_map(|section| &section.rules).map(|rule| rule.number);
        numbers.filter(|number| !self.tests.contains_key(number)).collect()
    }

    /// Numbers that tests cite although no list has them.
    #[must_use]
    pub fn unknown(&self) -> Vec<Number> {
        let known = self.known();
        let listed: BTreeSet<char> = known.iter().map(|(family, _)| *family).collect();
        self.tests.keys().copied().filter(|number| listed.contains(&number.0) && !known.contains(number)).collect()
    }

    fn known(&self) -> BTreeSet<Number> {
        self.lists.iter().flat_map(|list| numbers(&list.sections)).collect()
    }

    /// The table, as RULES.md has it.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::from(
            "# Rules and their tests\n\n\
             Which rule is proved where: made by `make rules` from the lists in `tests/rules` and from the tests that cite the numbers; not\n\
             written by hand. A rule is cited by a test that fails when the rule is broken.\n",
        );
        for List { title, sections } in &self.lists {
            let _ = write!(text, "\n## {title}\n");
            for section in sections {
                let _ = write!(text, "\n### {}. {}\n\n", section.number, section.title);
                if !section.rules.is_empty() {
                    text.push_str("| rule | what holds | proved by |\n| --- | --- | --- |\n");
                }
                for Rule { number, statement } in &section.rules {
                    let _ = writeln!(text, "| {} | {statement} | {} |", show(*number), self.links(*number));
                }
                for note in &section.notes {
                    let _ = writeln!(text, "- {note}");
                }
            }
        }
        for (family, title) in UNLISTED {
            let _ = write!(text, "\n## {title} ({family}-n)\n\n| number | tests |\n| --- | --- |\n");
            for number in self.tests.keys().filter(|number| number.0 == family) {
                let _ = writeln!(text, "| {} | {} |", show(*number), self.links(*number));
            }
        }
        text
    }

    fn links(&self, number: Number) -> String {
        let tests = self.tests.get(&number).into_iter().flatten();
        tests.map(|Test { file, name }| format!("[{name}]({file})")).collect::<Vec<_>>().join(", ")
    }
}

/// A number as it is written.
#[must_use]
pub fn show((family, number): Number) -> String {
    format!("{family}-{number}")
}

fn numbers(sections: &[Section]) -> impl Iterator<Item = Number> + '_ {
    sections.iter().flat_map(|section| &section.rules).map(|rule| rule.number)
}

/// Reads a list; the error is the line that is none.
fn parse_list(text: &str) -> Result<Vec<Section>, String> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let wrong = || line.to_owned();
        if let Some(heading) = line.strip_prefix("== ") {
            let (number, title) = heading.split_once(' ').ok_or_else(wrong)?;
            let number = number.parse().map_err(|_| wrong())?;
            sections.push(Section { number, title: title.to_owned(), ..Section::default() });
            continue;
        }
        let section = sections.last_mut().ok_or_else(wrong)?;
        if let Some(note) = line.strip_prefix("- ") {
            section.notes.push(note.to_owned());
            continue;
        }
        let (number, statement) = line.split_once(' ').ok_or_else(wrong)?;
        match scan(number, Form::Text).as_slice() {
            [Cited { number, last: None }] => {
                section.rules.push(Rule { number: *number, statement: statement.to_owned() });
            }
            _ => return Err(wrong()),
        }
    }
    Ok(sections)
}

/// All Rust files below the folders with tests: path relative to the root, text.
fn sources(root: &Path) -> io::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                found.push((name, fs::read_to_string(&path)?));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The test functions of a file: name, and text with the comments directly above. Relies on rustfmt: a function ends at the first line
/// that is a closing brace as far in as its first line.
fn find_tests(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut tests = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let attribute = lines[at].trim_start();
        if !(attribute.starts_with("#[test]") || attribute.starts_with("#[tokio::test")) {
            at += 1;
            continue;
        }
        let belongs = |line: &&&str| line.trim_start().starts_with("//") || line.trim_start().starts_with("#[");
        let above = lines[..at].iter().rev().take_while(belongs).count();
        let Some(head) = (at..lines.len()).find(|line| lines[*line].contains("fn ")) else { break };
        let indent = lines[head].len() - lines[head].trim_start().len();
        let closing = format!("{}}}", " ".repeat(indent));
        let is_end = |line: &usize| lines[*line] == closing || (*line == head && lines[head].ends_with('}'));
        let end = (head..lines.len()).find(is_end).unwrap_or(lines.len() - 1);
        let name = lines[head].split_once("fn ").map(|(_, rest)| rest).unwrap_or_default();
        let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        tests.push((name, lines[at - above..=end].join("\n")));
        at = end + 1;
    }
    tests
}

/// A number, or with `last` all up to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cited {
    number: Number,
    last: Option<u16>,
}

/// What a test cites: `J-860`, `J-860 to J-864`, `J-860…J-864` in its text; `j_860_to_j_864` or `j860` in its name.
fn citations(name: &str, text: &str) -> Vec<Cited> {
    let mut found = scan(text, Form::Text);
    found.extend(scan(&name.to_uppercase().replace("_TO_", " to "), Form::Name));
    found
}

/// How numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Name,
}

fn scan(text: &str, form: Form) -> Vec<Cited> {
    let mut found: Vec<Cited> = Vec::new();
    let mut before = None;
    let mut open = false;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let starts = !before.is_some_and(|c: char| c.is_alphanumeric() || c == '-');
        match number_at(rest, form).filter(|_| starts) {
            Some((number, length)) => {
                match found.last_mut().filter(|last| open && last.number.0 == number.0 && last.last.is_none()) {
                    Some(range) => range.last = Some(number.1),
                    None => found.push(Cited { number, last: None }),
                }
                rest = &rest[length..];
                before = Some('0');
                let joint = rest.trim_start();
                open = ["to ", "…", "–", "..."].iter().any(|word| joint.starts_with(word));
            }
            None => {
                if open && !(first.is_whitespace() || "to…–.".contains(first)) {
                    open = false;
                }
                before = Some(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    found
}

/// The number that a text begins with, and its length.
fn number_at(text: &str, form: Form) -> Option<(Number, usize)> {
    let family = text.chars().next().filter(|c| "JCTRFWD".contains(*c))?;
    let rest = &text[1..];
    let digits = match form {
        Form::Text => rest.strip_prefix('-')?,
        Form::Name => rest.strip_prefix('_').unwrap_or(rest),
    };
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let after = digits[length..].chars().next();
    if after.is_some_and(char::is_alphabetic) {
        return None;
    }
    Some(((family, digits[..length].parse().ok()?), text.len() - digits.len() + length))
}

/// A range stands for the rules of the list between its ends.
fn expand(cited: Cited, lists: &[List]) -> Vec<Number> {
    let (family, first) = cited.number;
    let Some(last) = cited.last else { return vec![cited.number] };
    let between = lists
        .iter()
        .flat_map(|list| numbers(&list.sections))
        .filter(|(other, number)| *other == family && (first..=last).contains(number));
    between.chain([cited.number, (family, last)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
//! J-101 is in the file's first lines.
fn helper() {
    // J-102
}

#[cfg(test)]
mod tests {
    // Directly above: J-103.
    #[test]
    fn j_104_to_j_106_and_t1_hold() {
        if true {
            // J-107…J-109, C-201
        }
    }

    const BETWEEN: &str = "J-110";

    #[tokio::test(flavor = "multi_thread")]
    async fn another() {} // J-111
}
"#;

    #[test]
    fn only_what_stands_in_or_directly_above_a_test_is_a_citation() {
        let tests = find_tests(SOURCE);
        let cited: Vec<(String, Vec<String>)> = tests
            .into_iter()
            .map(|(name, text)| {
                let cited = citations(&name, &text).into_iter().map(|cited| match cited.last {
                    None => show(cited.number),
                    Some(last) => format!("{} to {last}", show(cited.number)),
                });
                (name, cited.collect())
            })
            .collect();
        let of = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            cited,
            [
                (
                    "j_104_to_j_106_and_t1_hold".to_owned(),
                    of(&["J-103", "J-107 to 109", "C-201", "J-104 to 106", "T-1"])
                ),
                ("another".to_owned(), of(&["J-111"])),
            ]
        );
    }

    #[test]
    fn a_range_is_what_the_list_has_between_its_ends() {
        let sections = parse_list("== 1 A\nJ-860 a\nJ-862 b\nJ-864 c\nJ-870 d\n").unwrap();
        let lists = [List { title: "A", sections }];
        let mut found = expand(Cited { number: ('J', 860), last: Some(864) }, &lists);
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, [('J', 860), ('J', 862), ('J', 864)]);
    }

    #[test]
    fn a_line_that_is_no_rule_is_an_error() {
        assert_eq!(parse_list("== 1 A\nno rule\n"), Err("no rule".to_owned()));
        assert_eq!(parse_list("J-1 before a section\n"), Err("J-1 before a section".to_owned()));
    }
}
