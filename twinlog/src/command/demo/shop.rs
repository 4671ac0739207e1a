//! The shop: five tables that hang together by foreign keys, with the column types people use.

/// How many products are sold.
pub(super) const PRODUCTS: u32 = 40;

/// The tables, in the order they are shown.
pub(super) const TABLES: [&str; 5] = ["customer", "product", "stock", "orders", "order_line"];

const SCHEMA: [&str; 6] = [
    "CREATE DATABASE shop CHARACTER SET utf8mb4",
    "CREATE TABLE shop.customer (
        id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
        region CHAR(2) NOT NULL,
        name VARCHAR(80) NOT NULL,
        email VARCHAR(120) NOT NULL UNIQUE,
        profile JSON NOT NULL,
        created TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
    )",
    "CREATE TABLE shop.product (
        id INT UNSIGNED PRIMARY KEY,
        name VARCHAR(80) NOT NULL,
        price DECIMAL(10,2) NOT NULL,
        attributes JSON NOT NULL
    )",
    "CREATE TABLE shop.stock (
        warehouse CHAR(2) NOT NULL,
        product_id INT UNSIGNED NOT NULL,
        quantity INT NOT NULL,
        updated TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
        PRIMARY KEY (warehouse, product_id),
        FOREIGN KEY (product_id) REFERENCES product (id)
    )",
    "CREATE TABLE shop.orders (
        id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
        customer_id BIGINT UNSIGNED NOT NULL,
        status ENUM('new', 'paid', 'shipped') NOT NULL DEFAULT 'new',
        total DECIMAL(12,2) NOT NULL,
        placed TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
        note VARCHAR(200),
        FOREIGN KEY (customer_id) REFERENCES customer (id)
    )",
    "CREATE TABLE shop.order_line (
        order_id BIGINT UNSIGNED NOT NULL,
        line TINYINT UNSIGNED NOT NULL,
        product_id INT UNSIGNED NOT NULL,
        quantity INT UNSIGNED NOT NULL,
        price DECIMAL(10,2) NOT NULL,
        PRIMARY KEY (order_id, line),
        FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE,
        FOREIGN KEY (product_id) REFERENCES product (id)
    )",
];

/// Schema and first rows: the same in both regions, since the links copy nothing at their start.
pub(super) fn statements() -> Vec<String> {
    let products: Vec<String> = (1..=PRODUCTS)
        .map(|id| {
            format!(
                "({id}, 'product {id}', {id}.95, JSON_OBJECT('weight', {}, 'tags', JSON_ARRAY('new')))",
                id * 10
            )
        })
        .collect();
    // A fixed time: `CURRENT_TIMESTAMP` would differ between the two servers.
    let stock: Vec<String> = super::stage::REGIONS
        .iter()
        .flat_map(|warehouse| {
            (1..=PRODUCTS).map(move |id| format!("('{warehouse}', {id}, 1000000, '2026-01-01 00:00:00')"))
        })
        .collect();
    let mut statements: Vec<String> = SCHEMA.iter().map(ToString::to_string).collect();
    statements.push(format!("INSERT INTO shop.product VALUES {}", products.join(", ")));
    statements.push(format!("INSERT INTO shop.stock VALUES {}", stock.join(", ")));
    statements
}
